package nfs

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

const nfsPort = 2049

// Operations of NFS 4.0, RFC 7530, 16.
const (
	opClose       = 4
	opGetAttr     = 9
	opGetFH       = 10
	opLookup      = 15
	opOpen        = 18
	opOpenConfirm = 20
	opPutFH       = 22
	opPutRootFH   = 24
	opRead        = 25
	opRemove      = 28
	opSetClientID = 35
	opConfirmID   = 36
	opWrite       = 38
)

// Grace is what a server answers to new clients just after its start: those that it had before may take up again what they held.
const Grace = Status(10013)

// Client is one that a server knows, used as one account, in one directory. It gets no callbacks, and so no delegations.
type Client struct {
	c    *conn
	cred Cred
	id   uint64
	name string
	root []byte // handle of the directory
	held bool   // it has held a file
}

// Open is a file that was opened.
type Open struct {
	Owner  string // as the server names it: "610", or "nobody@office.example"
	handle []byte
	state  [16]byte
	owner  []byte
	seq    uint32
}

// Mount4 introduces itself to address as name, which must be another for each account, and goes to path. What the same name held before is
// dropped by the server.
func Mount4(ctx context.Context, address, path, name string, cred Cred, port int) (*Client, error) {
	if port == 0 {
		port = nfsPort
	}
	raw, err := dial(ctx, address, port, nfsProg, 4)
	if err != nil {
		return nil, fmt.Errorf("NFS service: %w", err)
	}
	c := &Client{c: raw, cred: cred, name: name}
	if err := c.introduce(); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("introduce ourselves: %w", err)
	}
	w := ops(0)
	w.op(opPutRootFH)
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part != "" {
			w.op(opLookup)
			w.opaque([]byte(part))
		}
	}
	w.op(opGetFH)
	r, err := c.compound(w)
	if err == nil {
		err = r.skipTo(opGetFH)
		c.root = r.opaque()
		err = errors.Join(err, r.err)
	}
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("find %s: %w", path, err)
	}
	return c, nil
}

// Close ends the connection. A server remembers on its disk who has held files, and after its next start waits for them to come back before it
// takes anybody new: so we introduce ourselves once more, as if we had been started anew, and are remembered with nothing.
func (c *Client) Close() error {
	var err error
	if c.held {
		err = c.introduce()
	}
	return errors.Join(err, c.c.Close())
}

func (c *Client) introduce() error {
	w := ops(0)
	w.op(opSetClientID)
	var verifier [8]byte
	_, _ = rand.Read(verifier[:])
	w.b = append(w.b, verifier[:]...)
	w.opaque([]byte(c.name))
	w.uint32(0x40000000) // callback: a program that nobody asks for
	w.opaque([]byte("tcp"))
	w.opaque([]byte("0.0.0.0.0.0"))
	w.uint32(1)
	r, err := c.compound(w)
	if err != nil {
		return err
	}
	if err := r.skipTo(opSetClientID); err != nil {
		return err
	}
	id := r.take(8)
	confirm := r.take(8)
	if r.err != nil {
		return r.err
	}
	c.id = binary.BigEndian.Uint64(id)
	w = ops(0)
	w.op(opConfirmID)
	w.uint64(c.id)
	w.b = append(w.b, confirm...)
	_, err = c.compound(w)
	return err
}

// Create opens a file for reading and writing that is made, or emptied.
func (c *Client) Create(name string, mode uint32) (*Open, error) {
	f := &Open{owner: []byte("probe " + rand.Text()), seq: 1}
	w := ops(0)
	w.op(opPutFH)
	w.opaque(c.root)
	w.op(opOpen)
	w.uint32(f.seq, 3, 0) // read and write, deny nothing
	w.uint64(c.id)
	w.opaque(f.owner)
	w.uint32(1, 0)           // create, unchecked
	w.uint32(2, 1<<4, 1<<1)  // attributes: size, mode
	w.uint32(12, 0, 0, mode) // 12 bytes: size 0, mode
	w.uint32(0)              // by its name
	w.opaque([]byte(name))   //
	w.op(opGetFH)            //
	w.op(opGetAttr)          //
	w.uint32(2, 0, 1<<4)     // owner
	r, err := c.compound(w)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	c.held = true
	confirm, err := f.opened(r)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	if !confirm {
		return f, nil
	}
	f.seq++
	w = ops(0)
	w.op(opPutFH)
	w.opaque(f.handle)
	w.op(opOpenConfirm)
	w.b = append(w.b, f.state[:]...)
	w.uint32(f.seq)
	if r, err = c.compound(w); err == nil {
		err = r.skipTo(opOpenConfirm)
		copy(f.state[:], r.take(16))
		err = errors.Join(err, r.err)
	}
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	return f, nil
}

// opened reads the results of OPEN, GETFH and GETATTR.
func (f *Open) opened(r *results) (confirm bool, err error) {
	if err := r.skipTo(opOpen); err != nil {
		return false, err
	}
	copy(f.state[:], r.take(16))
	r.take(4 + 8 + 8) // change_info4
	flags := r.uint32()
	r.bitmap()
	switch kind := r.uint32(); kind {
	case 0:
	case 1, 2: // a delegation, which nobody asked for; it ends with the client
		r.take(16 + 4)
		if kind == 2 {
			r.take(4 + 8)
		}
		r.take(4 + 4 + 4)
		r.opaque()
	default:
		return false, errors.New("the answer holds an unknown delegation")
	}
	if err := r.next(opGetFH); err != nil {
		return false, err
	}
	f.handle = r.opaque()
	if err := r.next(opGetAttr); err != nil {
		return false, err
	}
	r.bitmap()
	attributes := &reader{b: r.opaque()}
	f.Owner = string(attributes.opaque())
	return flags&2 != 0, errors.Join(r.err, attributes.err)
}

// Write writes data at the file's beginning; it is on disk when the call returns.
func (c *Client) Write(f *Open, data []byte) error {
	w := f.ops(opWrite)
	w.b = append(w.b, f.state[:]...)
	w.uint64(0)
	w.uint32(2) // FILE_SYNC4
	w.opaque(data)
	r, err := c.compound(w)
	if err == nil {
		err = r.skipTo(opWrite)
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	n, how := r.uint32(), r.uint32()
	switch {
	case r.err != nil:
		return fmt.Errorf("write: %w", r.err)
	case int(n) != len(data):
		return fmt.Errorf("write: %d bytes of %d were written", n, len(data))
	case how != 2:
		return errors.New("write: the server says done without having it on disk")
	}
	return nil
}

// Read reads up to n bytes from the file's beginning.
func (c *Client) Read(f *Open, n int) ([]byte, error) {
	w := f.ops(opRead)
	w.b = append(w.b, f.state[:]...)
	w.uint64(0)
	w.uint32(uint32(n))
	r, err := c.compound(w)
	if err == nil {
		err = r.skipTo(opRead)
	}
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	r.uint32() // end of file
	data := r.opaque()
	return data, r.err
}

// CloseFile gives the file back.
func (c *Client) CloseFile(f *Open) error {
	f.seq++
	w := f.ops(opClose)
	w.uint32(f.seq)
	w.b = append(w.b, f.state[:]...)
	if _, err := c.compound(w); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// Remove deletes a file.
func (c *Client) Remove(name string) error {
	w := ops(0)
	w.op(opPutFH)
	w.opaque(c.root)
	w.op(opRemove)
	w.opaque([]byte(name))
	if _, err := c.compound(w); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// operations are those of one COMPOUND.
type operations struct {
	writer
	n uint32
}

func ops(n uint32) *operations { return &operations{n: n} }

// ops begins with the file's handle.
func (f *Open) ops(op uint32) *operations {
	w := ops(0)
	w.op(opPutFH)
	w.opaque(f.handle)
	w.op(op)
	return w
}

func (w *operations) op(n uint32) {
	w.uint32(n)
	w.n++
}

// results are those of one COMPOUND, all of which succeeded.
type results struct {
	*reader
	left uint32
}

// compound does operations in order; the first that fails is the error.
func (c *Client) compound(o *operations) (*results, error) {
	w := &writer{}
	w.opaque(nil)    // tag
	w.uint32(0, o.n) // minor version
	w.b = append(w.b, o.b...)
	r, err := c.c.call(1, &c.cred, w.b)
	if err != nil {
		return nil, err
	}
	status := r.uint32()
	r.opaque()
	left := r.uint32()
	if r.err != nil {
		return nil, r.err
	}
	if status != 0 {
		return nil, Status(status)
	}
	if left != o.n {
		return nil, fmt.Errorf("%d of %d operations were answered", left, o.n)
	}
	return &results{r, left}, nil
}

// next goes to the next result, which must be op's.
func (r *results) next(op uint32) error {
	got, status := r.uint32(), r.uint32()
	r.left--
	switch {
	case r.err != nil:
		return r.err
	case got != op:
		return fmt.Errorf("the answer is to operation %d in the place of %d", got, op)
	case status != 0:
		return Status(status)
	}
	return nil
}

// skipTo goes to op's result, behind those that have none of their own.
func (r *results) skipTo(op uint32) error {
	for r.left > 0 {
		got, status := r.uint32(), r.uint32()
		r.left--
		switch {
		case r.err != nil:
			return r.err
		case status != 0:
			return Status(status)
		case got == op:
			return nil
		case got != opPutFH && got != opPutRootFH && got != opLookup:
			return fmt.Errorf("the answer is to operation %d in the place of %d", got, op)
		}
	}
	return errors.New("the answer is cut short")
}

func (r *reader) bitmap() {
	if n := r.uint32(); n <= 8 {
		r.take(4 * int(n))
	} else if r.err == nil {
		r.err = errors.New("the answer holds an impossible length")
	}
}
