package supervise

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sayasystems.com/atlas/image/pack"
)

// Pauses between two looks whether a process is ready. A small machine is busy while it boots, and a look costs it something (a command more
// than what it asks for), so there are less and less of them.
const (
	poll     = 100 * time.Millisecond
	pollMost = 2 * time.Second // of a command
	dialMost = 400 * time.Millisecond
)

// notifySocket listens for sd_notify(3) messages of one process.
type notifySocket struct {
	conn  *net.UnixConn
	path  string
	ready chan struct{} // closed at the first READY=1
}

func listenNotify(dir, name string) (*notifySocket, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	path := filepath.Join(dir, name+".sock")
	_ = os.Remove(path)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	// The process may run as any user.
	if err := os.Chmod(path, 0o777); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	return &notifySocket{conn: conn, path: path, ready: make(chan struct{})}, nil
}

func (n *notifySocket) close() {
	_ = n.conn.Close()
	_ = os.Remove(n.path)
}

// read takes messages until the socket is closed. It goes on after the first READY=1: a daemon that tells its state while it
// stops, as mariadbd does, would else wait for ever for room in the socket's queue.
func (n *notifySocket) read() {
	buf := make([]byte, 4096)
	told := false
	for {
		k, _, err := n.conn.ReadFromUnix(buf)
		if err != nil {
			return
		}
		for line := range strings.SplitSeq(string(buf[:k]), "\n") {
			if line == "READY=1" && !told {
				told = true
				close(n.ready)
			}
		}
	}
}

// waitReady waits until the process tells or shows that it serves. Its socket lies below root; ask runs a readiness command once.
func waitReady(ctx context.Context, r pack.Ready, address, root string, n *notifySocket, ask func(context.Context) error) error {
	switch {
	case r.Notify:
		select {
		case <-n.ready:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	case r.TCP > 0:
		return until(ctx, 1.1, dialMost, dial("tcp", net.JoinHostPort(address, strconv.Itoa(r.TCP)), r.Ask, r.Answers))
	case r.Socket != "":
		return until(ctx, 1.1, dialMost, dial("unix", root+r.Socket, "", ""))
	case len(r.Command) > 0:
		return until(ctx, 1.25, pollMost, ask)
	}
	return nil // nothing to wait for: started is ready
}

// dial connects once, and if answer is not empty, sends question and wants what comes back to begin with answer.
func dial(network, address, question, answer string) func(context.Context) error {
	return func(ctx context.Context) error {
		limit := time.Second
		if answer != "" {
			limit = 5 * time.Second // a busy machine takes its time
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // all was read that counts
		if answer == "" {
			return nil
		}
		stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		if _, err := io.WriteString(c, question); err != nil {
			return err
		}
		got := make([]byte, len(answer))
		if n, err := io.ReadFull(c, got); err != nil {
			return fmt.Errorf("port %s answers %q: %w", address, got[:n], err)
		}
		if string(got) != answer {
			return fmt.Errorf("port %s answers %q instead of %q", address, got, answer)
		}
		return nil
	}
}

// until calls f until it succeeds or ctx ends; then its last error is told. The pauses between grow by the factor, up to most.
func until(ctx context.Context, factor float64, most time.Duration, f func(context.Context) error) error {
	var last error
	for pause := poll; ; pause = min(time.Duration(float64(pause)*factor), most) {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err // a try that was cut short tells nothing
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(pause):
		}
	}
}
