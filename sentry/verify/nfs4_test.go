package verify

import (
	"context"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"time"
)

// fakeNFS4 is a server of NFS 4.0 with one directory, as RFC 7530 has it on the wire.
type fakeNFS4 struct {
	noSquash   bool // a client's root stays root
	deny       bool // nobody but uid 610 may write
	garble     bool // reads give other bytes
	grace      bool // it has just been started
	delegation bool // it gives a delegation that nobody asked for
	noConfirm  bool // opens need no confirmation
	old        bool // it does not speak version 4
	cut        bool // answers end early

	files map[string]string
	owner string // of the file that was made last
	name  string
	opens int // files that are open
	held  int // clients by whose coming back it would wait after a start
}

func (f *fakeNFS4) serve(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f.files = map[string]string{}
	turn := make(chan bool, 1) // one connection at a time touches the files
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.talk(c, turn)
		}
	}()
	return l.Addr().String()
}

func (f *fakeNFS4) talk(c net.Conn, turn chan bool) {
	defer func() { _ = c.Close() }()
	for {
		var h [4]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(h[:])&^(1<<31))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		x := &xdr{b: b}
		xid := x.u32()
		x.b = x.b[4*5:] // call, version of RPC, program, version, procedure
		x.u32()
		cred := &xdr{b: x.bytes()}
		cred.u32()
		cred.bytes()
		uid := cred.u32()
		x.u32()
		x.bytes()
		out := be(xid, 1, 0, 0, 0, 0)
		if f.old {
			out = append(be(xid, 1, 0, 0, 0, 2), be(3, 3)...)
		} else {
			turn <- true
			out = append(out, f.compound(x, uid)...)
			<-turn
		}
		if f.cut {
			out = out[:len(out)-8]
		}
		_, _ = c.Write(append(be(1<<31|uint32(len(out))), out...))
	}
}

func (f *fakeNFS4) compound(x *xdr, uid uint32) []byte {
	if uid == 0 && !f.noSquash {
		uid = 65534
	}
	x.bytes()
	x.u32()
	n := x.u32()
	var out []byte
	for i := range n {
		op := x.u32()
		status, body := f.do(op, x, uid)
		out = append(out, be(op, status)...)
		out = append(out, body...)
		if status != 0 {
			return append(be(status, 0, i+1), out...)
		}
	}
	return append(be(0, 0, n), out...)
}

func (f *fakeNFS4) do(op uint32, x *xdr, uid uint32) (uint32, []byte) {
	stateid := append(be(1), "stateid-ours"...)
	switch op {
	case 35: // SETCLIENTID
		x.b = x.b[8:]
		f.name = string(x.bytes())
		x.u32()
		x.bytes()
		x.bytes()
		x.u32()
		return 0, append(be(0, 7), "confirm!"...)
	case 36:
		if x.u32(); x.u32() != 7 || string(x.b[:8]) != "confirm!" {
			return 10022, nil
		}
		x.b = x.b[8:]
		f.held = 0
	case 24:
	case 22:
		x.bytes()
	case 15:
		if part := string(x.bytes()); part != "srv" && part != "atlas-verify-nfs" {
			return 2, nil
		}
	case 10:
		return 0, opaque("handle")
	case 18: // OPEN
		x.b = x.b[4+4+4+8:]
		x.bytes()
		x.b = x.b[8:]
		x.b = x.b[4+8:]
		x.bytes()
		x.u32()
		name := string(x.bytes())
		switch {
		case f.grace:
			return 10013, nil
		case f.deny && uid != 610:
			return 13, nil
		}
		f.files[name] = ""
		f.owner = map[uint32]string{0: "root@office.example", 610: "610"}[uid]
		if f.owner == "" {
			f.owner = "nobody@office.example"
		}
		f.opens++
		f.held++
		flags := uint32(2)
		if f.noConfirm {
			flags = 0
		}
		b := append(stateid, be(1, 0, 1, 0, 2, flags, 2, 1<<4, 1<<1)...)
		if f.delegation {
			b = append(append(append(b, be(2)...), stateid...), be(0, 1, 0, 9, 0, 0, 3)...)
			return 0, append(b, opaque("EVERYONE@")...)
		}
		return 0, append(b, be(0)...)
	case 9:
		x.b = x.b[12:]
		return 0, append(be(2, 0, 1<<4), opaque(string(opaque(f.owner)))...)
	case 20:
		x.b = x.b[20:]
		return 0, stateid
	case 38: // WRITE
		x.b = x.b[16+8+4:]
		data := string(x.bytes())
		for name := range f.files {
			f.files[name] = data
		}
		return 0, append(be(uint32(len(data)), 2), "verifier"...)
	case 25: // READ
		x.b = x.b[16+8+4:]
		for _, data := range f.files {
			if f.garble {
				data = "other"
			}
			return 0, append(be(1), opaque(data)...)
		}
	case 4:
		x.b = x.b[4+16:]
		f.opens--
		return 0, stateid
	case 28:
		delete(f.files, string(x.bytes()))
		return 0, be(1, 0, 1, 0, 2)
	}
	return 0, nil
}

func TestNFS4(t *testing.T) {
	for _, c := range []struct {
		name     string
		server   *fakeNFS4
		params   map[string]string
		want     Status
		evidence string
	}{
		{"good", &fakeNFS4{}, nil, Pass, "by NFS 4: wrote, read back and deleted a file; a client's root is nobody here"},
		{"opens without confirmation", &fakeNFS4{noConfirm: true}, nil, Pass, "root is nobody"},
		{"gives a delegation", &fakeNFS4{delegation: true}, nil, Pass, "root is nobody"},
		{"root may not write at all", &fakeNFS4{deny: true}, nil, Pass, "root is nobody"},
		{"root stays root", &fakeNFS4{noSquash: true}, nil, Fail, "belongs to the server's root"},
		{"other account", &fakeNFS4{deny: true}, map[string]string{"uid": "1000"}, Fail, "create: access denied"},
		{"other bytes", &fakeNFS4{garble: true}, nil, Fail, "reads back other than written"},
		{"not exported", &fakeNFS4{}, map[string]string{"export": "/srv/other"}, Fail, "find /srv/other: no such file"},
		{"just started", &fakeNFS4{grace: true}, nil, Skipped, "take up again"},
		{"version 3 only", &fakeNFS4{old: true}, nil, Fail, "does not have this version"},
		{"cut short", &fakeNFS4{cut: true}, nil, Fail, "cut short"},
		{"no such version", &fakeNFS4{}, map[string]string{"version": "5"}, Unknown, "neither 3 nor 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := at(t, c.server.serve(t), map[string]string{"version": "4"})
			maps.Copy(target.Params, c.params)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			got := NFS(ctx, target)
			if got.Status != c.want || !strings.Contains(got.Evidence, c.evidence) {
				t.Errorf("NFS = %+v; want %s, %q", got, c.want, c.evidence)
			}
			if got.Status == Fail && got.Next == "" {
				t.Error("a failure without a next step")
			}
			if got.Status == Pass && (len(c.server.files) != 0 || c.server.opens != 0 || c.server.held != 0) {
				t.Errorf("left behind: files %v, %d open, %d remembered", c.server.files, c.server.opens, c.server.held)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got := NFS(ctx, at(t, silent(t), map[string]string{"version": "4"})); got.Status != Fail {
		t.Errorf("NFS 4 of a silent server = %+v; want fail", got)
	}
}
