package engine

import (
	"crypto/sha1" //nolint:gosec // git's
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// seen is all of a file that counts, as words: read with nothing but system calls, to judge what the packages under test made.
type seen map[string]string

var watchedDirs = []string{"etc", "var/spool/cron/crontabs"}

// walk reads a server's watched trees. ACLs are kept as the kernel gives them.
func walk(t testing.TB, root string) seen {
	t.Helper()
	users, groups := accounts(t, root+"/etc/passwd"), accounts(t, root+"/etc/group")
	out := seen{}
	type inode struct{ dev, ino uint64 }
	names := map[inode][]string{}
	var visit func(p string)
	visit = func(p string) {
		full := filepath.Join(root, p)
		var st unix.Stat_t
		if err := unix.Lstat(full, &st); err != nil {
			return
		}
		who := func(m map[string]string, id uint32) string {
			if n, ok := m[fmt.Sprint(id)]; ok {
				return n
			}
			return fmt.Sprintf("#%d", id)
		}
		words := fmt.Sprintf("mode %o owner %s:%s", st.Mode, who(users, st.Uid), who(groups, st.Gid))
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			to, err := os.Readlink(full)
			must(t, err)
			words += fmt.Sprintf(" to %q", to)
		case unix.S_IFREG:
			words += " holds " + blob(t, full, st.Size)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			words += attrs(t, full)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
			names[inode{st.Dev, st.Ino}] = append(names[inode{st.Dev, st.Ino}], p)
		}
		out[p] = words
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			list, err := os.ReadDir(full)
			must(t, err)
			for _, e := range list {
				if !passed(e.Name()) {
					visit(p + "/" + e.Name())
				}
			}
		}
	}
	for _, d := range watchedDirs {
		visit(d)
	}
	for _, list := range names {
		slices.Sort(list)
		for _, p := range list {
			if len(list) > 1 {
				out[p] += fmt.Sprintf(" same as %q", list[0])
			}
		}
	}
	return out
}

// passed tells names that are no part of what is carried.
func passed(name string) bool {
	return strings.HasSuffix(name, ".swp") || strings.HasPrefix(name, ".atlas-new-") || name == "machine-id"
}

func accounts(t testing.TB, file string) map[string]string {
	data, err := os.ReadFile(file)
	must(t, err)
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(line, ":"); len(f) > 2 {
			out[f[2]] = f[0]
		}
	}
	return out
}

func blob(t testing.TB, file string, size int64) string {
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	h := sha1.New() //nolint:gosec // git's
	fmt.Fprintf(h, "blob %d\x00", size)
	_, err = io.Copy(h, f)
	must(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

func attrs(t testing.TB, file string) string {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(file, buf)
	must(t, err)
	list := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	slices.Sort(list)
	var b strings.Builder
	for _, name := range list {
		if name == "" {
			continue
		}
		v := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(file, name, v)
		must(t, err)
		fmt.Fprintf(&b, " %s=%x", name, v[:n])
	}
	return b.String()
}

// differ lists what differs between two, at most ten.
func differ(a, b seen) []string {
	var out []string
	for p, x := range a {
		if y := b[p]; x != y {
			out = append(out, fmt.Sprintf("%q: %s, not %s", p, x, y))
		}
	}
	for p, y := range b {
		if _, ok := a[p]; !ok {
			out = append(out, fmt.Sprintf("%q: not there, not %s", p, y))
		}
	}
	slices.Sort(out)
	return out[:min(len(out), 10)]
}

// recorded makes the same words of a state in the history, but for ACLs, of which only the names are told, and so with want.
func recorded(t testing.TB, e *Engine, commit string) seen {
	t.Helper()
	out := seen{}
	first := map[state.Path]bool{}
	kinds := map[state.Kind]uint32{state.File: unix.S_IFREG, state.Dir: unix.S_IFDIR, state.Link: unix.S_IFLNK}
	must(t, e.repo.Walk(commit, "", func(p state.Path, n state.Entry) error {
		if !slices.ContainsFunc(watchedDirs, func(d string) bool { return p.Under(state.Path(d)) }) || passed(p.Base()) {
			return nil
		}
		words := fmt.Sprintf("mode %o owner %s:%s", n.Mode|kinds[n.Kind], n.Owner, n.Group)
		switch n.Kind {
		case state.Link:
			words += fmt.Sprintf(" to %q", n.Target)
		case state.File:
			words += " holds " + string(n.Data)
		}
		keys := make([]string, 0, len(n.Xattrs))
		for k := range n.Xattrs {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if strings.HasPrefix(k, "system.") {
				words += " " + k + "="
			} else {
				words += fmt.Sprintf(" %s=%x", k, n.Xattrs[k])
			}
		}
		if n.Hard != "" {
			words += fmt.Sprintf(" same as %q", n.Hard)
			first[n.Hard] = true
		}
		out[string(p)] = words
		return nil
	}))
	for p := range first {
		out[string(p)] += fmt.Sprintf(" same as %q", p)
	}
	return out
}

// aclNames leaves of ACLs only their names.
func (s seen) aclNames() seen {
	out := seen{}
	for p, words := range s {
		f := strings.Split(words, " ")
		for i, w := range f {
			if k, _, ok := strings.Cut(w, "="); ok && strings.HasPrefix(k, "system.posix_acl") {
				f[i] = k + "="
			}
		}
		out[p] = strings.Join(f, " ")
	}
	return out
}
