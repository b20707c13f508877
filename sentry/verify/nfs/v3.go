package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// RPC programs with their versions, RFC 1833 and RFC 1813.
const (
	portProg, portVers   = 100000, 2
	mountProg, mountVers = 100005, 3
	nfsProg, nfsVers     = 100003, 3

	portmapPort = 111
	protoTCP    = 6
)

// Export is a mounted export, used as one account.
type Export struct {
	nfs  *conn
	root []byte
	cred Cred
}

// Ports of the services; 0: ask the port mapper, as clients do.
type Ports struct {
	Map, Mount, NFS int
}

// Mount asks address for the export at path and uses it as cred.
func Mount(ctx context.Context, address, path string, cred Cred, p Ports) (*Export, error) {
	if err := p.find(ctx, address); err != nil {
		return nil, err
	}
	m, err := dial(ctx, address, p.Mount, mountProg, mountVers)
	if err != nil {
		return nil, fmt.Errorf("mount service: %w", err)
	}
	defer func() { _ = m.Close() }()
	w := &writer{}
	w.opaque([]byte(path))
	r, err := m.call(1, &cred, w.b)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", path, err)
	}
	if s := r.uint32(); s != 0 {
		return nil, fmt.Errorf("mount %s: %w", path, Status(s))
	}
	root := r.opaque()
	if r.err != nil {
		return nil, fmt.Errorf("mount %s: %w", path, r.err)
	}
	_, _ = m.call(3, &cred, w.b) // the server forgets us: `showmount` lists those who stay
	c, err := dial(ctx, address, p.NFS, nfsProg, nfsVers)
	if err != nil {
		return nil, fmt.Errorf("NFS service: %w", err)
	}
	return &Export{nfs: c, root: root, cred: cred}, nil
}

func (p *Ports) find(ctx context.Context, address string) error {
	if p.Mount != 0 && p.NFS != 0 {
		return nil
	}
	if p.Map == 0 {
		p.Map = portmapPort
	}
	c, err := dial(ctx, address, p.Map, portProg, portVers)
	if err != nil {
		return fmt.Errorf("port mapper: %w", err)
	}
	defer func() { _ = c.Close() }()
	for _, s := range []struct {
		port       *int
		prog, vers uint32
		name       string
	}{{&p.Mount, mountProg, mountVers, "mount service"}, {&p.NFS, nfsProg, nfsVers, "NFS service"}} {
		if *s.port != 0 {
			continue
		}
		w := &writer{}
		w.uint32(s.prog, s.vers, protoTCP, 0)
		r, err := c.call(3, nil, w.b)
		if err != nil {
			return fmt.Errorf("port mapper: %w", err)
		}
		*s.port = int(r.uint32())
		if r.err != nil {
			return fmt.Errorf("port mapper: %w", r.err)
		}
		if *s.port == 0 || *s.port > 65535 {
			return fmt.Errorf("port mapper: no %s of version %d is registered", s.name, s.vers)
		}
	}
	return nil
}

// Close ends the connection.
func (e *Export) Close() error { return e.nfs.Close() }

// As is the same export, used by another account over the same connection.
func (e *Export) As(cred Cred) *Export { return &Export{nfs: e.nfs, root: e.root, cred: cred} }

// File is one that was found or made.
type File struct {
	Handle   []byte
	UID, GID uint32
	Size     uint64
	known    bool
}

// Create makes the file, or empties it.
func (e *Export) Create(name string, mode uint32) (File, error) {
	w := &writer{}
	w.opaque(e.root)
	w.opaque([]byte(name))
	w.uint32(0)                    // UNCHECKED
	w.uint32(1, mode, 0, 0, 1)     // mode; owner and group are the caller's; size
	w.uint64(0)                    // 0
	w.uint32(0, 0)                 // times are the server's
	r, err := e.ok("create", 8, w) // CREATE3res
	if err != nil {
		return File{}, err
	}
	var f File
	if r.uint32() == 1 {
		f.Handle = r.opaque()
	}
	f.attributes(r)
	if r.err == nil && (f.Handle == nil || !f.known) { // a server may leave both out
		return e.Lookup(name)
	}
	return f, r.err
}

// Lookup finds a file; fs.ErrNotExist tells that there is none.
func (e *Export) Lookup(name string) (File, error) {
	w := &writer{}
	w.opaque(e.root)
	w.opaque([]byte(name))
	r, err := e.ok("look up", 3, w)
	if err != nil {
		return File{}, err
	}
	f := File{Handle: r.opaque()}
	f.attributes(r)
	if r.err == nil && !f.known {
		return f, errors.New("look up: the server does not tell the file's attributes")
	}
	return f, r.err
}

// Write writes data at the file's beginning; it is on disk when the call returns (FILE_SYNC).
func (e *Export) Write(f File, data []byte) error {
	w := &writer{}
	w.opaque(f.Handle)
	w.uint64(0)
	w.uint32(uint32(len(data)), 2)
	w.opaque(data)
	r, err := e.ok("write", 7, w)
	if err != nil {
		return err
	}
	r.wcc()
	if n := r.uint32(); r.err == nil && int(n) != len(data) {
		return fmt.Errorf("write: %d bytes of %d were written", n, len(data))
	}
	if how := r.uint32(); r.err == nil && how != 2 {
		return errors.New("write: the server says done without having it on disk")
	}
	return r.err
}

// Read reads up to n bytes from the file's beginning.
func (e *Export) Read(f File, n int) ([]byte, error) {
	w := &writer{}
	w.opaque(f.Handle)
	w.uint64(0)
	w.uint32(uint32(n))
	r, err := e.ok("read", 6, w)
	if err != nil {
		return nil, err
	}
	var seen File
	seen.attributes(r)
	r.uint32() // count: that of data
	r.uint32() // end of file
	return r.opaque(), r.err
}

// Remove deletes the file.
func (e *Export) Remove(name string) error {
	w := &writer{}
	w.opaque(e.root)
	w.opaque([]byte(name))
	_, err := e.ok("delete", 12, w)
	return err
}

// ok does an NFS call and reads its status.
func (e *Export) ok(what string, proc uint32, w *writer) (*reader, error) {
	r, err := e.nfs.call(proc, &e.cred, w.b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if s := r.uint32(); s != 0 {
		return nil, fmt.Errorf("%s: %w", what, Status(s))
	}
	return r, r.err
}

// attributes reads post_op_attr.
func (f *File) attributes(r *reader) {
	if r.uint32() != 1 {
		return
	}
	r.take(4 * 3) // type, mode, links
	f.UID, f.GID = r.uint32(), r.uint32()
	high := uint64(r.uint32())
	f.Size = high<<32 | uint64(r.uint32())
	r.take(8 + 8 + 8 + 8 + 3*8) // used, device, file system, number, times
	f.known = r.err == nil
}

// wcc skips wcc_data.
func (r *reader) wcc() {
	if r.uint32() == 1 {
		r.take(8 + 8 + 8)
	}
	var f File
	f.attributes(r)
}

// Status is what a server answers instead of a result: nfsstat3, mountstat3 and nfsstat4, which agree where they have the same number.
type Status uint32

func (s Status) Error() string {
	if t := map[Status]string{
		1: "not permitted", 2: "no such file", 5: "input/output error", 13: "access denied", 17: "file exists", 20: "not a directory", 21: "is a directory",
		27: "file too large", 28: "no space left", 30: "read-only", 63: "name too long", 69: "quota exceeded", 70: "stale file handle",
		10011: "the lease has expired", 10013: "in its grace period after a start", 10016: "another kind of authentication is asked for", 10017: "this client's name is in use",
		10018: "out of resources", 10021: "this minor version is not spoken", 10022: "stale client", 10025: "bad state",
		10001: "bad file handle", 10004: "not supported", 10006: "server fault", 10008: "try again later",
	}[s]; t != "" {
		return t
	}
	return fmt.Sprintf("NFS error %d", uint32(s))
}

// Is lets errors.Is find the errors that files have everywhere.
func (s Status) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return s == 2
	case fs.ErrPermission:
		return s == 1 || s == 13
	}
	return false
}
