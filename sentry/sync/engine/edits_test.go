package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/watch"
)

// editor makes random edits below the watched directories of a root, as a process of its own.
type editor struct {
	r    *rand.Rand
	root string
	big  int64
	all  []string // what is there, below root
	dirs []string
}

// editMain is the process: edit-helper ROOT SEED EDITS BIG.
func editMain(args []string) int {
	seed, _ := strconv.ParseUint(args[1], 10, 64)
	n, _ := strconv.Atoi(args[2])
	big, _ := strconv.ParseInt(args[3], 10, 64)
	e := &editor{r: rand.New(rand.NewPCG(seed, 1)), root: args[0], big: big}
	unix.Umask(0o22)
	e.list()
	failed := 0
	for i := range n {
		if i%5 == 4 {
			e.list()
		}
		if err := e.edit(); err != nil {
			failed++
		}
	}
	fmt.Println(n - failed)
	return 0
}

// scribble writes to a file all the time.
func scribble(file string) int {
	f, err := os.Create(file)
	if err == nil {
		err = f.Truncate(10 << 20) // reading it takes a while
	}
	for i := 0; err == nil; i++ {
		_, err = f.WriteAt([]byte(fmt.Sprintf("%09d\n", i)), int64(i%1_000_000*10))
	}
	return 1
}

func (e *editor) list() {
	e.all, e.dirs = nil, nil
	for _, d := range watchedDirs {
		_ = filepath.WalkDir(filepath.Join(e.root, d), func(path string, entry fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(e.root, path)
			if err != nil || passed(entry.Name()) {
				return nil //nolint:nilerr // gone meanwhile
			}
			if entry.IsDir() && strings.Count(rel, "/") < 6 {
				e.dirs = append(e.dirs, rel)
			}
			if rel != d && rel != "etc/passwd" && rel != "etc/group" {
				e.all = append(e.all, rel)
			}
			return nil
		})
	}
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func (e *editor) path(p string) string { return filepath.Join(e.root, p) }

func (e *editor) some() string {
	if len(e.all) == 0 {
		return "etc/hosts"
	}
	return pick(e.r, e.all...)
}

// fresh is a path that may be new.
func (e *editor) fresh() string {
	for {
		name := pick(e.r, "hosts", "a", "a-b", "a.b", "b", ".git", ".gitignore", ".atlas", ".atlas=x", "we ird", "new\nline", "\xff\xfe", "ü", "quo\"te",
			"back\\slash", "%41", "->", "tab\t", "x'y", "-r", "conf.d", "z~", strings.Repeat("n", 255))
		switch e.r.IntN(6) {
		case 0:
			b := make([]byte, 1+e.r.IntN(12))
			for i := range b {
				for b[i] == 0 || b[i] == '/' {
					b[i] = byte(e.r.IntN(256))
				}
			}
			name = string(b)
		case 1, 2:
			name = fmt.Sprintf("n%d", e.r.IntN(60))
		}
		if name != "." && name != ".." && !passed(name) && !watch.Temporary(name) {
			return pick(e.r, e.dirs...) + "/" + name
		}
	}
}

func (e *editor) content() []byte {
	switch n := e.r.IntN(400); {
	case n == 0:
		return bytes.Repeat([]byte(fmt.Sprintf("%08d\n", e.r.IntN(1e8))), int(e.big/9))
	case n < 40:
		return nil
	case n < 60:
		b := make([]byte, 8*e.r.IntN(200_000))
		for i := 0; i < len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], e.r.Uint64())
		}
		return b
	}
	var b bytes.Buffer
	for range 1 + e.r.IntN(40) {
		fmt.Fprintf(&b, "line %d\n", e.r.IntN(1000))
	}
	return b.Bytes()
}

func (e *editor) edit() error {
	if len(e.all) > 600 {
		_ = os.RemoveAll(e.path(e.some()))
	}
	switch n := e.r.IntN(100); {
	case n < 18: // as editors do: beside, then in place
		p := e.path(e.fresh())
		tmp := filepath.Join(filepath.Dir(p), fmt.Sprintf(".tmp%d", e.r.IntN(1000)))
		if err := os.WriteFile(tmp, e.content(), 0o600|os.FileMode(e.r.IntN(0o100))); err != nil {
			return err
		}
		return os.Rename(tmp, p)
	case n < 28:
		return os.WriteFile(e.path(e.fresh()), e.content(), 0o644)
	case n < 36: // in place, also through another name
		return os.WriteFile(e.path(e.some()), e.content(), 0o644)
	case n < 40:
		f, err := os.OpenFile(e.path(e.some()), os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString("appended\n")
		return err
	case n < 48:
		return os.Rename(e.path(e.some()), e.path(e.fresh()))
	case n < 51:
		return unix.Renameat2(unix.AT_FDCWD, e.path(e.some()), unix.AT_FDCWD, e.path(e.some()), unix.RENAME_EXCHANGE)
	case n < 57:
		return os.Remove(e.path(e.some()))
	case n < 59:
		return os.RemoveAll(e.path(e.some()))
	case n < 66:
		return os.MkdirAll(e.path(e.fresh()), 0o755)
	case n < 72:
		p := e.path(e.some())
		if st, err := os.Lstat(p); err != nil || st.Mode()&os.ModeSymlink != 0 {
			return err
		}
		return unix.Chmod(p, uint32(e.r.IntN(0o10000)))
	case n < 78:
		return os.Lchown(e.path(e.some()), pick(e.r, 0, 33, 1000, 4242), pick(e.r, 0, 33, 1000, 4243))
	case n < 83:
		return e.acl(e.path(e.some()))
	case n < 88:
		p, name := e.path(e.some()), pick(e.r, "user.a", "user.b b", "user.\xff")
		if e.r.IntN(3) == 0 {
			return unix.Lremovexattr(p, name)
		}
		return unix.Lsetxattr(p, name, []byte(pick(e.r, "", "x", "\x00\x01 ->", strings.Repeat("v", 900))), 0)
	case n < 94:
		return os.Symlink(pick(e.r, "/etc/hosts", "a", "../a b", "\xff", "nowhere", "->"), e.path(e.fresh()))
	default:
		return os.Link(e.path(e.some()), e.path(e.fresh()))
	}
}

// acl sets one for www-data; on directories sometimes the default for what is made below.
func (e *editor) acl(p string) error {
	st, err := os.Lstat(p)
	if err != nil || st.Mode()&os.ModeSymlink != 0 {
		return err
	}
	name := "system.posix_acl_access"
	if st.IsDir() && e.r.IntN(2) == 0 {
		name = "system.posix_acl_default"
	}
	if e.r.IntN(4) == 0 {
		return unix.Lremovexattr(p, name)
	}
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, x := range [][3]uint32{{1, 6, 1<<32 - 1}, {2, uint32(e.r.IntN(8)), pick(e.r, uint32(33), 4242)}, {4, 4, 1<<32 - 1}, {16, 7, 1<<32 - 1}, {32, 0, 1<<32 - 1}} {
		b = binary.LittleEndian.AppendUint16(b, uint16(x[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(x[1]))
		b = binary.LittleEndian.AppendUint32(b, x[2])
	}
	return unix.Lsetxattr(p, name, b, 0)
}
