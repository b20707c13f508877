package verify

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeNFS is port mapper, mount service and NFS on one port, with one directory of files, as RFC 1813 has them on the wire.
type fakeNFS struct {
	port     uint32
	noSquash bool // a client's root stays root
	deny     bool // nobody but uid 610 may write
	garble   bool // reads give other bytes
	noMount  bool // the mount service is not registered
	cut      bool // answers end early
	huge     bool // answers claim to be enormous
	mu       sync.Mutex
	files    map[string][]byte
	owner    map[string]uint32
}

func (f *fakeNFS) serve(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.Atoi(port)
	f.port, f.files, f.owner = uint32(n), map[string][]byte{}, map[string]uint32{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.talk(c)
		}
	}()
	return l.Addr().String()
}

func (f *fakeNFS) talk(c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		var head [4]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(head[:])&^(1<<31))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		x := &xdr{b: b}
		xid := x.u32()
		x.u32() // call
		x.u32() // RPC version
		prog := x.u32()
		x.u32()
		proc := x.u32()
		uid := uint32(1)
		flavor, cred := x.u32(), &xdr{b: x.bytes()}
		if flavor == 1 {
			cred.u32()
			cred.bytes()
			uid = cred.u32()
		}
		x.u32()
		x.bytes()
		out := be(xid, 1, 0, 0, 0, 0)
		out = append(out, f.answer(prog, proc, uid, x)...)
		if f.cut {
			out = out[:len(out)-4]
		}
		n := uint32(len(out))
		if f.huge {
			n = 1 << 30
		}
		// In two fragments, as servers may.
		_, _ = c.Write(append(be(8), out[:8]...))
		_, _ = c.Write(append(be(1<<31|(n-8)), out[8:]...))
	}
}

func (f *fakeNFS) answer(prog, proc, uid uint32, x *xdr) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if uid == 0 && !f.noSquash {
		uid = 65534
	}
	attr := func(name string) []byte {
		b := be(1, 1, 0o600, 1, f.owner[name], f.owner[name], 0, uint32(len(f.files[name])))
		return append(b, make([]byte, 8+8+8+8+24)...)
	}
	switch {
	case prog == 100000:
		if want := x.u32(); f.noMount && want == 100005 {
			return be(0)
		}
		return be(f.port)
	case prog == 100005 && proc == 1:
		if string(x.bytes()) != "/srv/atlas-verify-nfs" {
			return be(13)
		}
		return append(be(0), append(opaque("root"), be(1, 1)...)...)
	case prog == 100005:
		return nil
	}
	x.bytes() // handle of the root; of a file for READ and WRITE
	switch proc {
	case 8: // CREATE
		name := string(x.bytes())
		if f.deny && uid != 610 {
			return be(13, 0, 0)
		}
		f.files[name], f.owner[name] = nil, uid
		return append(append(append(be(0, 1), opaque(name)...), attr(name)...), be(0, 0)...)
	case 3: // LOOKUP
		name := string(x.bytes())
		if _, ok := f.files[name]; !ok {
			return be(2, 0)
		}
		return append(append(append(be(0), opaque(name)...), attr(name)...), be(0)...)
	case 7: // WRITE
		x.u32()
		x.u32()
		x.u32()
		x.u32()
		data := x.bytes()
		for name := range f.files {
			f.files[name] = data
		}
		return be(0, 0, 0, uint32(len(data)), 2, 0, 0)
	case 6: // READ
		for name, data := range f.files {
			if f.garble {
				data = []byte("other")
			}
			return append(append(append(be(0), attr(name)...), be(uint32(len(data)), 1)...), opaque(string(data))...)
		}
		return be(70, 0)
	case 12: // REMOVE
		delete(f.files, string(x.bytes()))
		return be(0, 0, 0)
	}
	return be(10004)
}

// xdr reads what the probe sends; it trusts it.
type xdr struct{ b []byte }

func (x *xdr) u32() uint32 {
	v := binary.BigEndian.Uint32(x.b)
	x.b = x.b[4:]
	return v
}

func (x *xdr) bytes() []byte {
	n := int(x.u32())
	v := x.b[:n]
	x.b = x.b[n+(-n&3):]
	return v
}

func be(all ...uint32) []byte {
	var b []byte
	for _, v := range all {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func opaque(s string) []byte {
	return append(append(be(uint32(len(s))), s...), make([]byte, -len(s)&3)...)
}

func TestNFS(t *testing.T) {
	for _, c := range []struct {
		name     string
		server   *fakeNFS
		params   map[string]string
		want     Status
		evidence string
	}{
		{"good", &fakeNFS{}, nil, Pass, "wrote, read back and deleted a file; a client's root is nobody here"},
		{"root may not write at all", &fakeNFS{deny: true}, nil, Pass, "root is nobody"},
		{"root stays root", &fakeNFS{noSquash: true}, nil, Fail, "belongs to the server's root"},
		{"other account", &fakeNFS{deny: true}, map[string]string{"uid": "1000"}, Fail, "create: access denied"},
		{"other bytes", &fakeNFS{garble: true}, nil, Fail, "reads back other than written"},
		{"not exported", &fakeNFS{}, map[string]string{"export": "/srv/other"}, Fail, "mount /srv/other: access denied"},
		{"not registered", &fakeNFS{noMount: true}, nil, Fail, "no mount service of version 3 is registered"},
		{"cut short", &fakeNFS{cut: true}, nil, Fail, "cut short"},
		{"enormous", &fakeNFS{huge: true}, nil, Fail, "larger than"},
		{"no number", &fakeNFS{}, map[string]string{"uid": "me"}, Unknown, "not a number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(c.server.serve(t))
			params := map[string]string{"portmap": port}
			for k, v := range c.params {
				params[k] = v
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			got := NFS(ctx, Target{Address: "127.0.0.1", Server: "right", Observer: "left", Params: params})
			if got.Status != c.want || !strings.Contains(got.Evidence, c.evidence) {
				t.Errorf("NFS = %+v; want %s, %q", got, c.want, c.evidence)
			}
			if got.Status == Fail && got.Next == "" {
				t.Error("a failure without a next step")
			}
			if got.Status == Pass && len(c.server.files) != 0 {
				t.Errorf("files left behind: %v", c.server.files)
			}
		})
	}
	_, port, _ := net.SplitHostPort(silent(t))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	got := NFS(ctx, Target{Address: "127.0.0.1", Params: map[string]string{"portmap": port}})
	if got.Status != Fail {
		t.Errorf("NFS of a silent server = %+v; want fail", got)
	}
}
