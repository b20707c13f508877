// Package nfs speaks as much of NFS versions 3 and 4.0 as a probe needs: find the ports (RFC 1833), mount an export, make, write, read and
// delete a file (RFC 1813, RFC 7530), over ONC RPC on TCP with AUTH_SYS (RFC 5531). Nothing is cached, every call obeys its deadline, and
// what a broken server answers becomes an error. It is not a file system: no links, no locks, no directories.
package nfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Cred is who a call says it is from: AUTH_SYS, which a server believes.
type Cred struct {
	UID, GID uint32
}

// maxReply bounds what a server can make us keep.
const maxReply = 1 << 20

// conn is one connection to one RPC program.
type conn struct {
	net.Conn
	prog, vers, xid uint32
}

// dial connects to port of address, from a reserved port if we may: servers ask for one by default (`secure` in exports(5)).
func dial(ctx context.Context, address string, port int, prog, vers uint32) (*conn, error) {
	addr := net.JoinHostPort(address, strconv.Itoa(port))
	var c net.Conn
	err := error(syscall.EADDRINUSE)
	for i := 0; i < 20 && (errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL)); i++ {
		d := net.Dialer{}
		if os.Geteuid() == 0 {
			d.LocalAddr = &net.TCPAddr{Port: 665 + rand.IntN(1023-665)}
		}
		c, err = d.DialContext(ctx, "tcp", addr)
	}
	if errors.Is(err, syscall.EACCES) { // root without the right to reserved ports
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(10 * time.Second)
	}
	if err := c.SetDeadline(deadline); err != nil {
		_ = c.Close()
		return nil, err
	}
	return &conn{Conn: c, prog: prog, vers: vers, xid: rand.Uint32()}, nil
}

// call does procedure proc with args and returns its results.
func (c *conn) call(proc uint32, cred *Cred, args []byte) (*reader, error) {
	c.xid++
	w := &writer{}
	w.uint32(c.xid, 0, 2, c.prog, c.vers, proc) // CALL, RPC version 2
	if cred == nil {
		w.uint32(0, 0)
	} else {
		body := &writer{}
		body.uint32(uint32(time.Now().Unix()))
		body.opaque([]byte("atlas-sentry"))
		body.uint32(cred.UID, cred.GID, 0)
		w.uint32(1) // AUTH_SYS
		w.opaque(body.b)
	}
	w.uint32(0, 0) // no verifier
	w.b = append(w.b, args...)
	msg := binary.BigEndian.AppendUint32(nil, 1<<31|uint32(len(w.b))) // one record, one fragment
	if _, err := c.Write(append(msg, w.b...)); err != nil {
		return nil, err
	}
	b, err := c.record()
	if err != nil {
		return nil, err
	}
	r := &reader{b: b}
	if xid, kind := r.uint32(), r.uint32(); r.err == nil && (xid != c.xid || kind != 1) {
		return nil, errors.New("the answer is not to what was asked")
	}
	if denied := r.uint32(); denied != 0 {
		why := r.uint32()
		if why == 1 {
			return nil, fmt.Errorf("the call was refused: authentication, reason %d", r.uint32())
		}
		return nil, errors.New("the call was refused")
	}
	r.uint32() // verifier
	r.opaque()
	if accepted := r.uint32(); accepted != 0 {
		return nil, fmt.Errorf("the server cannot do the call: %s", acceptText(accepted))
	}
	return r, r.err
}

// record reads one reply, put together from its fragments.
func (c *conn) record() ([]byte, error) {
	var all []byte
	for {
		var head [4]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return nil, err
		}
		h := binary.BigEndian.Uint32(head[:])
		n := int(h &^ (1 << 31))
		if len(all)+n > maxReply {
			return nil, fmt.Errorf("the answer is larger than %d bytes", maxReply)
		}
		part := make([]byte, n)
		if _, err := io.ReadFull(c, part); err != nil {
			return nil, err
		}
		all = append(all, part...)
		if h>>31 == 1 {
			return all, nil
		}
	}
}

func acceptText(n uint32) string {
	switch n {
	case 1:
		return "it does not have this service"
	case 2:
		return "it does not have this version of the service"
	case 3:
		return "it does not have this procedure"
	case 4:
		return "it did not understand the arguments"
	}
	return fmt.Sprintf("system error (%d)", n)
}

// writer builds XDR (RFC 4506).
type writer struct{ b []byte }

func (w *writer) uint32(all ...uint32) {
	for _, v := range all {
		w.b = binary.BigEndian.AppendUint32(w.b, v)
	}
}

func (w *writer) uint64(v uint64) { w.b = binary.BigEndian.AppendUint64(w.b, v) }

func (w *writer) opaque(p []byte) {
	w.uint32(uint32(len(p)))
	w.b = append(w.b, p...)
	w.b = append(w.b, make([]byte, -len(p)&3)...)
}

// reader takes XDR apart; after the first error everything is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.b)) {
		r.err = errors.New("the answer is cut short")
	}
	if r.err != nil {
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) uint32() uint32 {
	p := r.take(4)
	if p == nil {
		return 0
	}
	return binary.BigEndian.Uint32(p)
}

func (r *reader) opaque() []byte {
	n := r.uint32()
	if n > maxReply {
		r.err = errors.New("the answer holds an impossible length")
		return nil
	}
	p := r.take(int(n))
	r.take(-int(n) & 3)
	return p
}
