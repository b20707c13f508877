package snapshot

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Names turns numbers of owners into names and back, by the etc/passwd and etc/group of a tree. os/user reads the running system's files
// only, and a set's may differ. It reads them again when they have changed. It may be used by several goroutines at once.
type Names struct {
	passwd, group source
}

// NewNames returns the names of the tree at root. Missing files hold no names.
func NewNames(root string) *Names { return NamesIn(filepath.Join(root, "etc")) }

// NamesIn returns the names of a directory that stands for /etc.
func NamesIn(etc string) *Names {
	return &Names{passwd: source{path: filepath.Join(etc, "passwd")}, group: source{path: filepath.Join(etc, "group")}}
}

// User is the name of an account, "#123" if it has none.
func (n *Names) User(uid uint32) string { return n.Now().User(uid) }

// Table is what Names knew at one moment; it does not change.
type Table struct{ users, groups *accounts }

// Now reads the files if they have changed.
func (n *Names) Now() Table { return Table{n.passwd.now(), n.group.now()} }

// User is the name of an account, "#123" if it has none.
func (t Table) User(uid uint32) string { return t.users.name(uid) }

// Group is the name of a group, "#123" if it has none.
func (t Table) Group(gid uint32) string { return t.groups.name(gid) }

// UID is the number of an account. The error is a *UnknownNameError.
func (t Table) UID(name string) (uint32, error) {
	if id, ok := t.users.id(name); ok {
		return id, nil
	}
	return 0, &UnknownNameError{Name: name}
}

// GID is the number of a group. The error is a *UnknownNameError.
func (t Table) GID(name string) (uint32, error) {
	if id, ok := t.groups.id(name); ok {
		return id, nil
	}
	return 0, &UnknownNameError{Name: name, Group: true}
}

// source is one of the files.
type source struct {
	path string
	mu   sync.Mutex
	at   Stamp
	list *accounts
}

// most bounds the size of the files read: 16 MiB hold 200,000 accounts.
const most = 16 << 20

func (s *source) now() *accounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := statAt(unix.AT_FDCWD, s.path, 0)
	if err != nil || m.kind() != unix.S_IFREG {
		if s.list == nil {
			s.list = &accounts{}
		}
		return s.list // useradd renames the file: it is never away for long, and the last known names are better than none
	}
	if st := m.stamp(); s.list != nil && st == s.at && st != (Stamp{}) {
		return s.list
	}
	f, err := os.OpenFile(s.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err == nil {
		defer f.Close()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, most)); err == nil {
			s.list, s.at = parseAccounts(data), m.stamp()
		}
	}
	if s.list == nil {
		s.list = &accounts{}
	}
	return s.list
}

// accounts is a parsed passwd(5) or group(5).
type accounts struct {
	names map[uint32]string
	ids   map[string]uint32
}

// parseAccounts reads lines whose first field is a name and whose third is its number. Where several names share a number, the first
// counts, as for getpwuid(3); broken lines and those of NIS ("+") are passed over.
func parseAccounts(data []byte) *accounts {
	a := &accounts{names: map[uint32]string{}, ids: map[string]uint32{}}
	for line := range bytes.Lines(data) {
		f := strings.Split(strings.TrimSuffix(string(line), "\n"), ":")
		if len(f) < 3 || f[0] == "" || strings.ContainsAny(f[0][:1], "#+-") || strings.ContainsRune(f[0], 0) {
			continue
		}
		id, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil || id == 1<<32-1 { // (uid_t)-1 means "leave as it is" to chown(2)
			continue
		}
		if _, ok := a.names[uint32(id)]; !ok {
			a.names[uint32(id)] = f[0]
		}
		if _, ok := a.ids[f[0]]; !ok {
			a.ids[f[0]] = uint32(id)
		}
	}
	return a
}

func (a *accounts) name(id uint32) string {
	if n, ok := a.names[id]; ok {
		return n
	}
	return fmt.Sprintf("#%d", id)
}

func (a *accounts) id(name string) (uint32, bool) {
	if s, ok := strings.CutPrefix(name, "#"); ok {
		id, err := strconv.ParseUint(s, 10, 32)
		return uint32(id), err == nil && id != 1<<32-1
	}
	id, ok := a.ids[name]
	return id, ok
}

// pause is how long to wait before the n-th reading of a file that is being changed.
func pause(n int) time.Duration { return time.Duration(n) * 5 * time.Millisecond }
