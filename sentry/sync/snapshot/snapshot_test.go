package snapshot

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("files of other owners take the administrator's rights: run the test as root")
	}
}

const (
	passwd = "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\ntwin:x:33:33::/:/bin/sh\n"
	group  = "root:x:0:\nanna:x:1000:\nwww-data:x:33:\nadm:x:4:anna\n"
	// passwd2 and group2 have the same names with other numbers: another server.
	passwd2 = "root:x:0:0::/root:/bin/sh\nanna:x:2001:2001::/:/bin/sh\nwww-data:x:633:633::/:/bin/sh\n"
	group2  = "root:x:0:\nanna:x:2001:\nwww-data:x:633:\nadm:x:604:anna\n"
)

// newTree makes a tree with accounts and opens it.
func newTree(t testing.TB, passwd, group string, o Options) (*Tree, string) {
	t.Helper()
	needRoot(t)
	root := t.TempDir()
	must(t, os.Mkdir(root+"/etc", 0o755), os.WriteFile(root+"/etc/passwd", []byte(passwd), 0o644),
		os.WriteFile(root+"/etc/group", []byte(group), 0o644))
	tree, err := Open(root, o)
	must(t, err)
	t.Cleanup(func() { must(t, tree.Close()) })
	return tree, root
}

// all scans and fails on errors.
func all(t testing.TB, tree *Tree, o ScanOptions, roots ...state.Path) []Item {
	t.Helper()
	var out []Item
	for it, err := range tree.Scan(context.Background(), roots, o) {
		must(t, err)
		out = append(out, it)
	}
	return out
}

func entries(items []Item) map[state.Path]state.Entry {
	m := map[state.Path]state.Entry{}
	for _, i := range items {
		m[i.Path] = i.Entry
	}
	return m
}

// capNet is CAP_NET_BIND_SERVICE, permitted and effective, as struct vfs_cap_data of version 2.
const capNet = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// odd makes one of everything below root/srv.
func odd(t testing.TB, tree *Tree) {
	t.Helper()
	big := make([]byte, 50<<20)
	must(t, errOf(rand.Read(big[20<<20:20<<20+1000])))
	for _, x := range []struct {
		p    state.Path
		e    state.Entry
		data string
	}{
		{"srv", state.Entry{Kind: state.Dir, Mode: 0o755, Owner: "root", Group: "root"}, ""},
		{"srv/empty", state.Entry{Kind: state.File, Mode: 0o644, Owner: "anna", Group: "adm"}, ""},
		{"srv/setuid", state.Entry{Kind: state.File, Mode: 0o6755, Owner: "www-data", Group: "adm"}, "#!"},
		{"srv/sticky", state.Entry{Kind: state.Dir, Mode: 0o3775, Owner: "anna", Group: "adm"}, ""},
		{"srv/none", state.Entry{Kind: state.File, Mode: 0, Owner: "#4711", Group: "#4712"}, "secret"},
		{"srv/odd \n\xff\\name", state.Entry{Kind: state.File, Mode: 0o600, Owner: "root", Group: "root"}, "x"},
		{"srv/" + state.Path(strings.Repeat("l", 255)), state.Entry{Kind: state.File, Mode: 0o600, Owner: "root", Group: "root"}, "x"},
		{"srv/cap", state.Entry{Kind: state.File, Mode: 0o755, Owner: "anna", Group: "root", Xattrs: map[string]string{capability: capNet}}, "x"},
		{"srv/xattr", state.Entry{Kind: state.File, Mode: 0o644, Owner: "anna", Group: "root", Xattrs: map[string]string{
			"user.a": "\x00\xff", "user.empty": "",
		}}, "x"},
		{"srv/acl", state.Entry{Kind: state.File, Mode: 0o674, Owner: "anna", Group: "adm", Xattrs: map[string]string{
			ACLAccess: "user::rw-,user:#99:---,user:www-data:r-x,group::r--,group:anna:rwx,mask::rwx,other::r--",
		}}, "x"},
		{"srv/acldir", state.Entry{Kind: state.Dir, Mode: 0o750, Owner: "anna", Group: "adm", Xattrs: map[string]string{
			ACLDefault: "user::rwx,user:www-data:rwx,group::r-x,mask::rwx,other::---",
		}}, ""},
		{"srv/acldir/plain", state.Entry{Kind: state.File, Mode: 0o640, Owner: "anna", Group: "adm"}, "no ACL of its own"},
		{"srv/acldir/sub", state.Entry{Kind: state.Dir, Mode: 0o700, Owner: "anna", Group: "adm"}, ""},
		{"srv/link", state.Entry{Kind: state.Link, Mode: 0o777, Owner: "anna", Group: "adm", Target: "/etc/shadow"}, ""},
		{"srv/dangling", state.Entry{Kind: state.Link, Mode: 0o777, Owner: "root", Group: "root", Target: "no \xff such"}, ""},
		{"srv/hard2", state.Entry{Kind: state.File, Hard: "srv/empty"}, ""},
		{"srv/hardlink", state.Entry{Kind: state.Link, Hard: "srv/dangling"}, ""},
		{"srv/sparse", state.Entry{Kind: state.File, Mode: 0o644, Owner: "root", Group: "root"}, string(big)},
	} {
		x.e.Size = int64(len(x.data))
		put(t, tree, x.p, x.e, x.data)
	}
}

func errOf[T any](_ T, err error) error { return err }

func put(t testing.TB, tree *Tree, p state.Path, e state.Entry, data string) {
	t.Helper()
	n, err := tree.Make(p, e, strings.NewReader(data))
	must(t, err)
	must(t, n.Replace())
}

// TestRoundTrip writes one of everything, reads it, writes that to another server whose accounts have other numbers, and compares.
func TestRoundTrip(t *testing.T) {
	one, root1 := newTree(t, passwd, group, Options{})
	two, root2 := newTree(t, passwd2, group2, Options{})
	odd(t, one)
	items := all(t, one, ScanOptions{}, "srv")
	if len(items) != 18 {
		t.Errorf("%d entries; want 18", len(items))
	}
	got := entries(items)
	if e := got["srv/acl"]; e.Xattrs[ACLAccess] != "user::rw-,user:#99:---,user:www-data:r-x,group::r--,group:anna:rwx,mask::rwx,other::r--" {
		t.Errorf("srv/acl is %+v", e)
	}
	if e := got["srv/acldir/plain"]; e.Xattrs != nil || e.Mode != 0o640 {
		t.Errorf("srv/acldir/plain is %+v; want nothing inherited", e)
	}
	if e := got["srv/hard2"]; e.Hard != "srv/empty" || e.Data != "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391" || e.Owner != "anna" {
		t.Errorf("srv/hard2 is %+v; want the name of srv/empty and git's hash of nothing", e)
	}
	if e := got["srv/hardlink"]; e.Hard != "srv/dangling" {
		t.Errorf("srv/hardlink is %+v", e)
	}
	if e := got["srv/setuid"]; e.Mode != 0o6755 || e.Owner != "www-data" {
		t.Errorf("srv/setuid is %+v", e)
	}
	for _, it := range items {
		e, data := it.Entry, []byte(nil)
		if e.Kind == state.File {
			var err error
			_, data, err = one.ReadBytes(it.Path)
			must(t, err)
		}
		n, err := two.Make(it.Path, e, bytes.NewReader(data))
		must(t, err)
		must(t, n.Replace())
	}
	if d := cmp.Diff(got, entries(all(t, two, ScanOptions{}, "srv"))); d != "" {
		t.Errorf("what arrived differs (-sent +arrived):\n%.4000s", d)
	}
	st := stat(t, root2+"/srv/acl")
	if st.Uid != 2001 || st.Gid != 604 {
		t.Errorf("srv/acl belongs to %d:%d; want the numbers of this server, 2001:604", st.Uid, st.Gid)
	}
	if a, b := stat(t, root1+"/srv/empty"), stat(t, root1+"/srv/hard2"); a.Ino != b.Ino {
		t.Error("srv/hard2 is not the same file as srv/empty")
	}
	if st := stat(t, root2+"/srv/sparse"); st.Blocks*512 > 1<<20 || st.Size != 50<<20 {
		t.Errorf("srv/sparse takes %d bytes of the disk for %d", st.Blocks*512, st.Size)
	}
	leftovers(t, root1, root2)
}

func stat(t testing.TB, path string) *syscall.Stat_t {
	t.Helper()
	st, err := os.Lstat(path)
	must(t, err)
	return st.Sys().(*syscall.Stat_t)
}

func leftovers(t testing.TB, roots ...string) {
	t.Helper()
	for _, r := range roots {
		must(t, filepath.WalkDir(r, func(p string, _ fs.DirEntry, err error) error {
			if IsTemp(filepath.Base(p)) {
				t.Errorf("%s is left", p)
			}
			return err
		}))
	}
}

func TestReplace(t *testing.T) {
	tree, root := newTree(t, passwd, group, Options{})
	file := state.Entry{Kind: state.File, Mode: 0o644, Owner: "root", Group: "root", Size: 1}
	dir := state.Entry{Kind: state.Dir, Mode: 0o700, Owner: "anna", Group: "adm"}
	link := state.Entry{Kind: state.Link, Mode: 0o777, Owner: "root", Group: "root", Target: "x"}
	put(t, tree, "a", file, "1")
	for _, c := range []struct {
		name string
		e    state.Entry
		data string
	}{{"file by file", file, "2"}, {"by link", link, ""}, {"by dir", dir, ""}, {"by dir again", dir, ""}, {"by link again", link, ""}, {"by file", file, "3"}} {
		put(t, tree, "a", c.e, c.data)
		it, data, err := tree.ReadBytes("a")
		if err != nil || it.Entry.Kind != c.e.Kind || it.Entry.Mode != c.e.Mode || it.Entry.Owner != c.e.Owner || string(data) != c.data {
			t.Errorf("%s: %+v %q %v", c.name, it.Entry, data, err)
		}
	}
	put(t, tree, "d", dir, "")
	put(t, tree, "d/f", file, "1")
	dir.Mode = 0o711
	put(t, tree, "d", dir, "")
	if it, err := tree.Read("d", nil); err != nil || it.Entry.Mode != 0o711 || errOf(os.Stat(root+"/d/f")) != nil {
		t.Errorf("a directory over a directory: %+v, %v; want other attributes and the same content", it, err)
	}
	n, err := tree.Make("d", file, strings.NewReader("1"))
	must(t, err)
	var full *NotEmptyError
	if err := n.Replace(); !errors.As(err, &full) || errOf(os.Stat(root+"/d/f")) != nil {
		t.Errorf("a file over a full directory: %v; want that it is not empty", err)
	}
	if err := tree.Remove("d"); !errors.As(err, &full) {
		t.Errorf("Remove() of a full directory = %v", err)
	}
	must(t, tree.Remove("d/f"), tree.Remove("d"), tree.Remove("d"), tree.Remove("no/such/thing"), tree.Remove("a"))
	n, err = tree.Make("x", file, strings.NewReader("1"))
	must(t, err)
	n.Discard()
	if _, err := tree.Make("x", file, strings.NewReader("12")); err == nil {
		t.Error("more content than announced is taken")
	}
	if _, err := tree.Make("x", file, strings.NewReader("")); err == nil {
		t.Error("less content than announced is taken")
	}
	var unknown *UnknownNameError
	file.Owner = "nobody-here"
	if _, err := tree.Make("x", file, strings.NewReader("1")); !errors.As(err, &unknown) || unknown.Name != "nobody-here" || unknown.Path != "x" {
		t.Errorf("Make() with an unknown owner = %v", err)
	}
	file.Owner, file.Xattrs = "root", map[string]string{ACLAccess: "user::rw-,group::r--,group:ghosts:r--,mask::r--,other::r--"}
	if _, err := tree.Make("x", file, strings.NewReader("1")); !errors.As(err, &unknown) || unknown.Name != "ghosts" || !unknown.Group || unknown.Path != "x" {
		t.Errorf("Make() with an unknown group in an ACL = %v", err)
	}
	if _, err := tree.Make("no/dir", file, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Make() in a directory that is missing = %v", err)
	}
	if _, err := os.Lstat(root + "/x"); err == nil {
		t.Error("x is there")
	}
	leftovers(t, root)
}

// TestLinksInTheWay puts links where directories should be, and sees that nobody is led elsewhere.
func TestLinksInTheWay(t *testing.T) {
	tree, root := newTree(t, passwd, group, Options{})
	must(t, os.Mkdir(root+"/srv", 0o777), os.WriteFile(root+"/etc/shadow", []byte("secret"), 0o600),
		os.Symlink("../etc", root+"/srv/dir"), os.Symlink("/etc", root+"/srv/abs"), os.Symlink("../etc/shadow", root+"/srv/file"))
	e := state.Entry{Kind: state.File, Mode: 0o666, Owner: "anna", Group: "anna", Size: 1}
	for _, p := range []state.Path{"srv/dir/shadow", "srv/abs/shadow", "srv/file/x"} {
		if _, data, err := tree.ReadBytes(p); err == nil || len(data) > 0 {
			t.Errorf("ReadBytes(%s) = %q, %v; want an error", p, data, err)
		}
		if _, err := tree.Make(p, e, strings.NewReader("x")); err == nil {
			t.Errorf("Make(%s) went through a link", p)
		}
		if err := tree.SetAttrs(p, e); err == nil {
			t.Errorf("SetAttrs(%s) went through a link", p)
		}
		must(t, tree.Remove(p)) // nothing is there by that name
	}
	if it, data, err := tree.ReadBytes("srv/file"); err != nil || it.Entry.Kind != state.Link || len(data) > 0 {
		t.Errorf("ReadBytes() of a link = %+v, %q, %v; want the link", it, data, err)
	}
	put(t, tree, "srv/file", e, "x")
	if data, err := os.ReadFile(root + "/etc/shadow"); err != nil || string(data) != "secret" || stat(t, root+"/etc/shadow").Uid != 0 {
		t.Error("etc/shadow was changed through a link")
	}
	for _, p := range []state.Path{"", "../x", "/etc/passwd", "a//b", "a/./b", "a\x00b"} {
		if _, err := tree.Read(p, nil); err == nil {
			t.Errorf("Read(%q) = no error", p)
		}
		if _, err := tree.Make(p, e, nil); err == nil {
			t.Errorf("Make(%q) = no error", p)
		}
	}
	got := all(t, tree, ScanOptions{}, "srv", "srv/dir/shadow")
	if len(got) != 4 {
		t.Errorf("%d entries; want srv and three in it", len(got))
	}
}

// TestSwappedWhileRead swaps a directory for a link to etc all the time, while it is read.
func TestSwappedWhileRead(t *testing.T) {
	tree, root := newTree(t, passwd, group, Options{})
	must(t, os.MkdirAll(root+"/srv/d", 0o777), os.WriteFile(root+"/srv/d/shadow", []byte("mine"), 0o644),
		os.WriteFile(root+"/etc/shadow", []byte("secret"), 0o600), os.Symlink("../etc", root+"/srv/l"))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, root+"/srv/d", unix.AT_FDCWD, root+"/srv/l", unix.RENAME_EXCHANGE)
			}
		}
	}()
	var good int
	for range 5000 {
		if _, data, err := tree.ReadBytes("srv/d/shadow"); err == nil {
			if good++; string(data) != "mine" {
				t.Fatalf("read %q through a link", data)
			}
		}
	}
	close(stop)
	<-done
	if good == 0 {
		t.Error("it was never read at all")
	}
}

func TestNotKept(t *testing.T) {
	tree, root := newTree(t, passwd, group, Options{MaxFile: 1000})
	must(t, os.Mkdir(root+"/srv", 0o755), unix.Mkfifo(root+"/srv/fifo", 0o600), unix.Mknod(root+"/srv/socket", unix.S_IFSOCK|0o600, 0),
		os.WriteFile(root+"/srv/big", make([]byte, 1001), 0o644), os.WriteFile(root+"/srv/ok", nil, 0o644),
		os.WriteFile(root+"/srv/"+TempPrefix+"x", nil, 0o644))
	_ = unix.Mknod(root+"/srv/null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
	var got []string
	for it, err := range tree.Scan(context.Background(), []state.Path{"srv", "missing"}, ScanOptions{}) {
		var kept *NotKeptError
		var large *TooLargeError
		switch {
		case errors.As(err, &kept) && kept.Path == it.Path:
			got = append(got, string(it.Path)+": "+kept.What)
		case errors.As(err, &large) && large.Size == 1001 && large.Limit == 1000:
			got = append(got, string(it.Path)+": too large")
		case err != nil:
			t.Error(err)
		default:
			got = append(got, string(it.Path))
		}
	}
	want := []string{"srv", "srv/big: too large", "srv/fifo: a FIFO (named pipe)", "srv/null: a device", "srv/ok", "srv/socket: a socket"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("scan (-want +got):\n%s", d)
	}
}

func TestMounts(t *testing.T) {
	tree, root := newTree(t, passwd, group, Options{})
	must(t, os.MkdirAll(root+"/srv/dir/in", 0o755), os.MkdirAll(root+"/image/in", 0o755), os.WriteFile(root+"/srv/file", nil, 0o644))
	for _, m := range [][2]string{{"/image", "/srv/dir"}, {"/etc/passwd", "/srv/file"}} {
		if err := unix.Mount(root+m[0], root+m[1], "", unix.MS_BIND, ""); err != nil {
			t.Skipf("mounting is not allowed here: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(root+m[1], unix.MNT_DETACH) })
	}
	if got := all(t, tree, ScanOptions{}, "srv"); len(got) != 1 {
		t.Errorf("scan %+v; want srv alone", got)
	}
	if got := all(t, tree, ScanOptions{}, "srv/dir"); len(got) != 2 { // a root may be mounted, as etc is
		t.Errorf("scan %+v; want srv/dir and srv/dir/in", got)
	}
	var kept *NotKeptError
	if _, err := tree.Read("srv/file", nil); !errors.As(err, &kept) {
		t.Errorf("Read() of a mounted file = %v", err)
	}
}

func TestBusy(t *testing.T) {
	tree, root := newTree(t, passwd, group, Options{})
	f, err := os.Create(root + "/busy")
	must(t, err)
	defer f.Close()
	calls := 0
	_, err = tree.Read("busy", func(int64) (io.Writer, error) {
		calls++
		_, err := f.WriteString("more")
		return nil, err
	})
	if !errors.Is(err, ErrBusy) || calls != attempts {
		t.Errorf("Read() of a file that grows = %v after %d attempts; want busy after %d", err, calls, attempts)
	}
	calls = 0
	it, err := tree.Read("busy", func(int64) (io.Writer, error) {
		if calls++; calls < attempts {
			_, err := f.WriteString("more")
			return nil, err
		}
		return nil, nil
	})
	if err != nil || it.Entry.Size != int64(4*(2*attempts-1)) {
		t.Errorf("Read() of a file that rests again = %+v, %v", it, err)
	}
}

func TestOrderAndLimits(t *testing.T) {
	tree, root := newTree(t, passwd, group, Options{MaxEntries: 2000})
	for _, p := range []string{"a/a/x", "a/a-b", "a/a.c", "a/b/c/d", "a-b/x", "b/x", "a/a/z"} {
		must(t, os.MkdirAll(root+"/srv/"+filepath.Dir(p), 0o755), os.WriteFile(root+"/srv/"+p, nil, 0o644))
	}
	must(t, os.Link(root+"/srv/a/a/x", root+"/srv/a/a-b2"), os.Link(root+"/srv/a/a/z", root+"/outside"))
	items := all(t, tree, ScanOptions{Skip: func(p state.Path) bool { return p == "srv/a/b/c" }}, "srv/b", "srv/a", "srv/a-b", "srv/a/a", "srv/a")
	var got []state.Path
	for _, i := range items {
		got = append(got, i.Path)
	}
	want := []state.Path{
		"srv/a", "srv/a-b", "srv/a-b/x", "srv/a/a", "srv/a/a-b", "srv/a/a-b2", "srv/a/a.c", "srv/a/a/x", "srv/a/a/z", "srv/a/b", "srv/b", "srv/b/x",
	}
	if d := cmp.Diff(want, got); d != "" || !slices.IsSorted(got) {
		t.Errorf("order (-want +got):\n%s", d)
	}
	e := entries(items)
	if e["srv/a/a/x"].Hard != "srv/a/a-b2" || e["srv/a/a-b2"].Hard != "" || e["srv/a/a/z"].Hard != "" {
		t.Errorf("hard links: %+v", e)
	}
	must(t, os.Mkdir(root+"/srv/many", 0o755))
	for i := range 3000 {
		must(t, os.WriteFile(fmt.Sprintf("%s/srv/many/%d", root, i), nil, 0o644))
	}
	var many *TooManyError
	for _, err := range tree.Scan(context.Background(), []state.Path{"srv"}, ScanOptions{}) {
		if err != nil && !errors.As(err, &many) {
			t.Error(err)
		}
	}
	if many == nil || many.Dir != "srv/many" || many.Limit != 2000 || many.Held < 1000 {
		t.Errorf("scan of too many = %v", many)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last error
	for _, err := range tree.Scan(ctx, []state.Path{"srv"}, ScanOptions{}) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("scan after it was called off = %v", last)
	}
}

func TestKnown(t *testing.T) {
	tree, root := newTree(t, passwd, group, Options{})
	must(t, os.Mkdir(root+"/srv", 0o755), os.WriteFile(root+"/srv/f", []byte("x"), 0o644))
	time.Sleep(2 * fresh)
	cache := map[Stamp]state.Hash{}
	for _, it := range all(t, tree, ScanOptions{}, "srv") {
		if it.Entry.Kind == state.File {
			cache[it.Stamp] = "known"
		}
	}
	known := func(_ state.Path, s Stamp) state.Hash { return cache[s] }
	if e := entries(all(t, tree, ScanOptions{Known: known}, "srv"))["srv/f"]; e.Data != "known" || len(cache) != 1 {
		t.Errorf("%+v; want the hash that was known", e)
	}
	must(t, os.WriteFile(root+"/srv/f", []byte("y"), 0o644))
	items := all(t, tree, ScanOptions{Known: known}, "srv")
	if items[1].Entry.Data == "known" || items[1].Stamp != (Stamp{}) {
		t.Errorf("%+v; want it read anew, and no stamp so shortly after a change", items[1])
	}
}

func TestNames(t *testing.T) {
	tree, root := newTree(t, passwd, group, Options{})
	n := tree.names
	now := n.Now()
	if now.User(33) != "www-data" || now.Group(4) != "adm" || now.User(99) != "#99" {
		t.Errorf("names: %q %q %q", now.User(33), now.Group(4), now.User(99))
	}
	if id, err := now.UID("twin"); id != 33 || err != nil {
		t.Errorf("UID(twin) = %d, %v", id, err)
	}
	if id, err := now.GID("#123"); id != 123 || err != nil {
		t.Errorf("GID(#123) = %d, %v", id, err)
	}
	for _, name := range []string{"", "#", "#x", "#4294967295", "#99999999999", "nobody-here"} {
		if id, err := now.UID(name); err == nil {
			t.Errorf("UID(%q) = %d without error", name, id)
		}
	}
	must(t, os.WriteFile(root+"/etc/new", []byte("bert:x:1001:1001::/:/bin/sh\n"), 0o644), os.Rename(root+"/etc/new", root+"/etc/passwd"))
	if got := n.User(1001); got != "bert" {
		t.Errorf("User(1001) = %q after a change; want bert", got)
	}
	must(t, os.Remove(root+"/etc/passwd"))
	if got := n.User(1001); got != "bert" {
		t.Errorf("User(1001) = %q while the file is away; want bert", got)
	}
}

func TestACLErrors(t *testing.T) {
	tree, _ := newTree(t, passwd, group, Options{})
	for _, text := range []string{
		"", "user::rw-", "user::rw-,group::r--,other::---,", "user::rwx,user::rwx,group::r--,other::---", "user::rw-,user:anna:r--,group::r--,other::---",
		"user::rw-,group::r--,other::---,mask:x:r--", "user::wr-,group::r--,other::---", "user::rw-,group::r--,other::---,evil::rwx",
		"user::rw-,user:an\\9:r--,group::r--,mask::r--,other::---", "user::rw-,user:anna:r--,user:anna:r--,group::r--,mask::r--,other::---",
	} {
		if b, err := encodeACL(text, tree.names.Now()); err == nil {
			t.Errorf("encodeACL(%q) = %x without error", text, b)
		}
	}
}

func FuzzACL(f *testing.F) {
	t := Table{parseAccounts([]byte(passwd + "a,b:x:7:7\na\\:x:8:8\n")), parseAccounts([]byte(group))}
	for _, text := range []string{
		"user::rw-,user:anna:r--,group::r--,mask::r--,other::---", "user::rwx,group::---,other::---",
		"user::rw-,user:a\\054b:r--,user:#5:rwx,group::r--,group:adm:r--,mask::r--,other::---",
	} {
		b, err := encodeACL(text, t)
		must(f, err)
		f.Add(b, text)
	}
	f.Fuzz(func(ft *testing.T, b []byte, text string) {
		if s, err := decodeACL(b, t); err == nil {
			if again, err := encodeACL(s, t); err == nil {
				if s2, err := decodeACL(again, t); err != nil || s2 != s {
					ft.Errorf("%x is %q, and then %q, %v", b, s, s2, err)
				}
			}
		}
		if b, err := encodeACL(text, t); err == nil {
			s, err := decodeACL(b, t)
			if err != nil {
				ft.Errorf("decodeACL(encodeACL(%q)) = %v", text, err)
			}
			if b2, err := encodeACL(s, t); err != nil || !bytes.Equal(b, b2) {
				ft.Errorf("%q is %x and then %x, %v", text, b, b2, err)
			}
		}
	})
}

func FuzzAccounts(f *testing.F) {
	f.Add([]byte(passwd))
	f.Add([]byte("+::::\n:x:1\na:x:4294967295\nb:x\nc:x:-1\n\x00:x:5\nlast:x:9"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := parseAccounts(b)
		for id, name := range a.names {
			if got, ok := a.id(a.name(id)); !ok || name == "" || a.ids[name] != got {
				t.Errorf("%d is %q, which is %d", id, name, got)
			}
		}
	})
}

// BenchmarkScan reads 50,000 files of 700 bytes.
func BenchmarkScan(b *testing.B) {
	needRoot(b)
	root := b.TempDir()
	const n = 50_000
	for i := range n {
		dir := fmt.Sprintf("%s/srv/%d/%d", root, i%50, i/50%20)
		if i < 1000 {
			must(b, os.MkdirAll(dir, 0o755))
		}
		must(b, os.WriteFile(fmt.Sprintf("%s/%d", dir, i), bytes.Repeat([]byte("setting\n"), 90), 0o644))
	}
	tree, err := Open(root, Options{})
	must(b, err)
	defer func() { must(b, tree.Close()) }()
	time.Sleep(2 * fresh)
	b.ReportAllocs()
	cache := map[Stamp]state.Hash{}
	b.Run("hashed", func(b *testing.B) {
		for b.Loop() {
			for _, it := range all(b, tree, ScanOptions{}, "srv") {
				cache[it.Stamp] = it.Entry.Data
			}
		}
	})
	b.Run("known", func(b *testing.B) {
		for b.Loop() {
			for _, err := range tree.Scan(context.Background(), []state.Path{"srv"}, ScanOptions{
				Known: func(_ state.Path, s Stamp) state.Hash { return cache[s] },
			}) {
				must(b, err)
			}
		}
	})
}
