package watch

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// raw builds an event as the kernel does.
func raw(mask uint64, pid int32, infos ...[]byte) []byte {
	b := make([]byte, metaLen)
	for _, i := range infos {
		b = append(b, i...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	b[4] = unix.FANOTIFY_METADATA_VERSION
	binary.NativeEndian.PutUint16(b[6:], metaLen)
	binary.NativeEndian.PutUint64(b[8:], mask)
	binary.NativeEndian.PutUint32(b[16:], ^uint32(0))
	binary.NativeEndian.PutUint32(b[20:], uint32(pid))
	return b
}

func info(kind byte, body []byte) []byte {
	b := []byte{kind, 0, 0, 0}
	b = append(b, body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	binary.NativeEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func named(kind byte, handle, name string) []byte {
	b := []byte("filesys!")
	b = binary.NativeEndian.AppendUint32(b, uint32(len(handle)))
	b = binary.NativeEndian.AppendUint32(b, 7)
	return info(kind, append([]byte(b), handle+name+"\x00"...))
}

func samples() [][]byte {
	return [][]byte{
		raw(unix.FAN_CLOSE_WRITE, 42, named(unix.FAN_EVENT_INFO_TYPE_DFID_NAME, "HANDLE01", "hosts"),
			info(unix.FAN_EVENT_INFO_TYPE_PIDFD, []byte{9, 0, 0, 0})),
		raw(unix.FAN_RENAME, 43, named(unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, "HANDLE01", "a"),
			named(unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, "HANDLE02", "b"), info(unix.FAN_EVENT_INFO_TYPE_PIDFD, []byte{255, 255, 255, 255})),
		raw(unix.FAN_Q_OVERFLOW, 0),
	}
}

func TestParse(t *testing.T) {
	var all []byte
	for _, s := range samples() {
		all = append(all, s...)
	}
	got, err := parse(all)
	h1, h2 := makeFID([]byte("filesys!"), 7, []byte("HANDLE01")), makeFID([]byte("filesys!"), 7, []byte("HANDLE02"))
	want := []event{
		{mask: unix.FAN_CLOSE_WRITE, pid: 42, pidfd: 9, dir: h1, name: "hosts"},
		{mask: unix.FAN_RENAME, pid: 43, pidfd: -1, reaped: true, dir: h1, name: "a", to: h2, toName: "b"},
		{mask: unix.FAN_Q_OVERFLOW, pidfd: -1},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(event{})); d != "" || err != nil {
		t.Errorf("parse() (-want +got), error %v:\n%s", err, d)
	}
	if kind, b, ok := h1.parts(); kind != 7 || string(b) != "HANDLE01" || !ok {
		t.Errorf("parts() = %d, %q, %v", kind, b, ok)
	}
	for n := 1; n < len(all); n++ {
		if got, err := parse(all[:n]); err == nil && n != len(samples()[0]) && n != len(samples()[0])+len(samples()[1]) {
			t.Errorf("parse() of %d bytes of %d = %d events without error", n, len(all), len(got))
		}
	}
	bad := raw(1, 1)
	bad[4] = 99
	if _, err := parse(bad); err == nil || errors.Is(err, errShort) {
		t.Errorf("parse() of another version = %v; want an error that says so", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range samples() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parse(b)
		if len(got) > len(b)/metaLen {
			t.Errorf("%d events in %d bytes", len(got), len(b))
		}
		var sum int
		for _, e := range got {
			sum += len(e.name) + len(e.toName)
		}
		if sum > len(b) || err == nil && len(b) > 0 && len(got) == 0 {
			t.Errorf("%d bytes of names, %d events from %d bytes", sum, len(got), len(b))
		}
	})
}

func FuzzStat(f *testing.F) {
	f.Add("42 (vi) S 41 42 40 34816 42 4194304 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1")
	f.Add("42 (a) b) c) S 41 42 40 34816 42 4194304 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseStat(s)
		if err == nil && printable(p.comm) != p.comm {
			t.Errorf("parseStat(%q) has the name %q", s, p.comm)
		}
	})
}
