package supervise

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sayasystems.com/atlas/image/pack"
)

// poll is the pause between two looks whether a process is ready.
const poll = 100 * time.Millisecond

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
		return until(ctx, dial("tcp", net.JoinHostPort(address, strconv.Itoa(r.TCP))))
	case r.Socket != "":
		return until(ctx, dial("unix", root+r.Socket))
	case len(r.Command) > 0:
		return until(ctx, ask)
	}
	return nil // nothing to wait for: started is ready
}

func dial(network, address string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// until calls f until it succeeds or ctx ends; then its last error is told.
func until(ctx context.Context, f func(context.Context) error) error {
	var last error
	for {
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
		case <-time.After(poll):
		}
	}
}
