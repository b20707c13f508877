package watch

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is what /proc tells about one process, proc(5). Its arguments are never read: they may hold passwords.
type process struct {
	pid, parent, session int
	start                uint64 // after boot, in ticks: with pid it names a process for good
	comm                 string
	tty                  string
}

// proc reads below dir, "/proc".
type proc struct{ dir string }

func (p proc) read(pid int, name string, limit int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(p.dir, strconv.Itoa(pid), name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

func (p proc) stat(pid int) (process, error) {
	b, err := p.read(pid, "stat", 4096)
	if err != nil {
		return process{}, err
	}
	return parseStat(string(b))
}

// parseStat reads /proc/PID/stat. The second field is in brackets and may hold brackets and blanks itself.
func parseStat(s string) (process, error) {
	open, end := strings.IndexByte(s, '('), strings.LastIndex(s, ") ")
	if open < 0 || end < open {
		return process{}, fmt.Errorf("process state %.40q has no name", s)
	}
	f := strings.Fields(s[end+2:])
	if len(f) < 20 {
		return process{}, fmt.Errorf("process state %.40q has %d fields", s, len(f))
	}
	var n [4]int
	for i, w := range []string{strings.TrimSpace(s[:open]), f[1], f[3], f[4]} {
		v, err := strconv.Atoi(w)
		if err != nil {
			return process{}, fmt.Errorf("process state %.40q: %w", s, err)
		}
		n[i] = v
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return process{}, fmt.Errorf("process state %.40q: %w", s, err)
	}
	return process{pid: n[0], parent: n[1], session: n[2], tty: ttyName(n[3]), start: start, comm: printable(s[open+1 : end])}, nil
}

// ttyName names a terminal by its device number (Linux Documentation/admin-guide/devices.txt).
func ttyName(dev int) string {
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	switch {
	case dev == 0:
		return ""
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts/%d", (major-136)<<8|minor)
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	case major == 4:
		return fmt.Sprintf("ttyS%d", minor-64)
	case major == 229:
		return fmt.Sprintf("hvc%d", minor)
	}
	return "console"
}

// printable makes a process's own name fit for messages: it may be anything.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}

// uids returns the real and effective user.
func (p proc) uids(pid int) (ruid, euid uint32, ok bool) {
	b, err := p.read(pid, "status", 8192)
	if err != nil {
		return 0, 0, false
	}
	for line := range strings.Lines(string(b)) {
		if rest, found := strings.CutPrefix(line, "Uid:"); found {
			f := strings.Fields(rest)
			if len(f) < 2 {
				return 0, 0, false
			}
			r, err1 := strconv.ParseUint(f[0], 10, 32)
			e, err2 := strconv.ParseUint(f[1], 10, 32)
			return uint32(r), uint32(e), err1 == nil && err2 == nil
		}
	}
	return 0, 0, false
}

// loginuid is the user that logged in, as PAM told the kernel; ok is false where nobody did, or nothing told.
func (p proc) loginuid(pid int) (uint32, bool) {
	b, err := p.read(pid, "loginuid", 32)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 32)
	return uint32(n), err == nil && n != 1<<32-1
}

// program is the name of what runs: that of the file, where the process's own name is the beginning of it (it is cut at 15 bytes), else
// the process's own, which is a script's name.
func (p proc) program(pid int, comm string) string {
	exe, err := os.Readlink(filepath.Join(p.dir, strconv.Itoa(pid), "exe"))
	if err == nil {
		if base := printable(filepath.Base(strings.TrimSuffix(exe, " (deleted)"))); len(comm) == 15 && strings.HasPrefix(base, comm) {
			return base
		}
	}
	return comm
}

// service is the service of ours whose control group the process is in: ".../services/apache/apache2" → "apache".
func (p proc) service(pid int) string {
	b, err := p.read(pid, "cgroup", 8192)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			_, rest, _ := strings.Cut(strings.TrimSpace(path), "/services/")
			name, _, _ := strings.Cut(rest, "/")
			return printable(strings.TrimSuffix(name, " (deleted)"))
		}
	}
	return ""
}

// env returns one variable of what the process was started with.
func (p proc) env(pid int, name string) string {
	b, err := p.read(pid, "environ", 128<<10)
	if err != nil {
		return ""
	}
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if rest, ok := bytes.CutPrefix(v, []byte(name+"=")); ok {
			return string(rest)
		}
	}
	return ""
}

// from is the address that the person who owns the process is logged in from, by what sshd left in its environment.
func (p proc) from(pid int) string {
	for _, name := range []string{"SSH_CONNECTION", "SSH_CLIENT"} {
		first, _, _ := strings.Cut(p.env(pid, name), " ")
		if a, err := netip.ParseAddr(first); err == nil {
			return a.Unmap().String()
		}
	}
	return ""
}

// remote is the address at the other end of a process's connection, if it has just one.
func (p proc) remote(pid int) string {
	fds, err := os.ReadDir(filepath.Join(p.dir, strconv.Itoa(pid), "fd"))
	if err != nil {
		return ""
	}
	sockets := map[string]bool{}
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(p.dir, strconv.Itoa(pid), "fd", fd.Name())); err == nil {
			if rest, ok := strings.CutPrefix(to, "socket:["); ok {
				sockets[strings.TrimSuffix(rest, "]")] = true
			}
		}
	}
	found := ""
	for _, name := range []string{"net/tcp", "net/tcp6"} {
		b, err := p.read(pid, name, 4<<20)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != established || !sockets[f[9]] {
				continue
			}
			a, ok := parseAddr(f[2])
			if !ok || found != "" && found != a {
				return ""
			}
			found = a
		}
	}
	return found
}

const established = "01" // proc(5), /proc/net/tcp

// parseAddr reads "0B00070A:0016": words of four bytes, each in the machine's order, and a port.
func parseAddr(s string) (string, bool) {
	text, _, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 4 && len(b) != 16 {
		return "", false
	}
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap().String(), true
}
