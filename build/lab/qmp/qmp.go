// Package qmp speaks the QEMU Machine Protocol with one virtual machine over its Unix socket (QEMU's docs/interop/qmp-spec.rst):
// greeting, capabilities, commands with answers, events. It knows no particular command.
package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Error is QEMU's refusal of a command.
type Error struct {
	Command, Class, Desc string
}

func (e *Error) Error() string { return fmt.Sprintf("QEMU refuses %s: %s", e.Command, e.Desc) }

// Event is something that QEMU tells unasked.
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

// Conn is a connection. QEMU serves one at a time; others wait until it is closed. Not for concurrent use.
type Conn struct {
	c      net.Conn
	dec    *json.Decoder
	events []Event
}

// Dial connects and agrees on capabilities.
func Dial(ctx context.Context, path string) (*Conn, error) {
	nc, err := DialUnix(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("connect to QEMU's monitor: %w", err)
	}
	return New(ctx, nc)
}

// New agrees on capabilities over an open connection, which it owns from then on.
func New(ctx context.Context, nc net.Conn) (*Conn, error) {
	c := &Conn{c: nc, dec: json.NewDecoder(nc)}
	c.deadline(ctx)
	var hello struct {
		QMP json.RawMessage `json:"QMP"`
	}
	if err := c.dec.Decode(&hello); err != nil || hello.QMP == nil {
		_ = nc.Close()
		if err == nil {
			err = errors.New("no greeting")
		}
		return nil, fmt.Errorf("connect to QEMU's monitor: %w", err)
	}
	if err := c.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.c.Close() }

// Execute runs a command with arguments (nil for none) and decodes its answer into out (nil to drop it).
func (c *Conn) Execute(ctx context.Context, command string, args, out any) error {
	c.deadline(ctx)
	req := struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, args}
	data, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("QEMU command %s: %w", command, err)
	}
	if _, err := c.c.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("QEMU command %s: %w", command, err)
	}
	for {
		var m struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Class string `json:"class"`
				Desc  string `json:"desc"`
			} `json:"error"`
			Event
		}
		if err := c.dec.Decode(&m); err != nil {
			return fmt.Errorf("QEMU command %s: %w", command, err)
		}
		switch {
		case m.Name != "":
			c.events = append(c.events, m.Event)
		case m.Error != nil:
			return &Error{Command: command, Class: m.Error.Class, Desc: m.Error.Desc}
		case out != nil:
			if err := json.Unmarshal(m.Return, out); err != nil {
				return fmt.Errorf("QEMU command %s: answer: %w", command, err)
			}
			return nil
		default:
			return nil
		}
	}
}

// Await returns the first event, past or coming, that match accepts. Events that came before it are forgotten.
func (c *Conn) Await(ctx context.Context, match func(Event) bool) (Event, error) {
	c.deadline(ctx)
	for {
		for len(c.events) > 0 {
			e := c.events[0]
			c.events = c.events[1:]
			if match(e) {
				return e, nil
			}
		}
		var e Event
		if err := c.dec.Decode(&e); err != nil {
			return e, fmt.Errorf("wait for an event of QEMU: %w", err)
		}
		c.events = append(c.events, e)
	}
}

func (c *Conn) deadline(ctx context.Context) {
	t, ok := ctx.Deadline()
	if !ok {
		t = time.Now().Add(30 * time.Second)
	}
	_ = c.c.SetDeadline(t) // a connection that cannot be limited fails at the next read
}

// DialUnix connects to a Unix socket whose path may be longer than the 108 bytes that an address holds (unix(7)).
func DialUnix(ctx context.Context, path string) (net.Conn, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	short := filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), filepath.Base(path))
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", short)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	}
	return c, nil
}
