package engine

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// wire is a link between the two servers that can break: now, after some bytes, and for good.
type wire struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
	rest  atomic.Int64 // bytes until everything is cut; < 0: endless
	off   atomic.Bool
	last  atomic.Bool // after the cut of rest, nothing gets through any more
}

// newWire makes one that listens when it is asked for its address.
func newWire(t testing.TB) (*wire, func(to string, port int) string) {
	w := &wire{}
	w.rest.Store(-1)
	return w, func(to string, port int) string { return w.listen(t, to, port) }
}

// listen gives the address at which to is reached over the wire.
func (w *wire) listen(t testing.TB, to string, port int) string {
	w.conns = map[net.Conn]bool{}
	w.rest.Store(-1)
	const ip = "127.0.77.9"
	l, err := net.Listen("tcp", net.JoinHostPort(ip, fmt.Sprint(port)))
	must(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { w.carry(c, net.JoinHostPort(to, fmt.Sprint(port))) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); w.cut(); work.Wait() })
	return ip
}

func (w *wire) carry(c net.Conn, to string) {
	defer func() { _ = c.Close() }()
	if w.off.Load() {
		return
	}
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = d.Close() }()
	w.mu.Lock()
	w.conns[c], w.conns[d] = true, true
	w.mu.Unlock()
	pump := func(dst, src net.Conn) {
		defer func() { _, _ = dst.Close(), src.Close() }()
		buf := make([]byte, 4096)
		for {
			n, err := src.Read(buf)
			if r := w.rest.Load(); r >= 0 {
				if r < int64(n) {
					n, err = int(r), net.ErrClosed
					w.rest.Store(-1)
					if w.last.Load() {
						w.off.Store(true)
						w.cut()
					}
				} else {
					w.rest.Add(-int64(n))
				}
			}
			if _, werr := dst.Write(buf[:n]); werr != nil || err != nil {
				return
			}
		}
	}
	var work sync.WaitGroup
	work.Go(func() { pump(d, c) })
	pump(c, d)
	work.Wait()
	w.mu.Lock()
	delete(w.conns, c)
	delete(w.conns, d)
	w.mu.Unlock()
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
}
