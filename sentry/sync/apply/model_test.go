package apply

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// model is a tree in memory. It is written to disk and compared with the disk by this file alone, which shares no code with what is tested.
type model map[string]*node // hard links are one node under several paths

type node struct {
	kind     state.Kind
	mode     uint32
	uid, gid int
	data     string
	target   string
	user     map[string]string // attributes user.*
	acl      uint16            // rights of uid 3001 in an ACL; 0 = none
	defacl   uint16            // of a directory: what new files get
}

const accounts = "root:x:0:0::/:\nu0:x:3000:3000::/:\nu1:x:3001:3001::/:\nu2:x:3002:3002::/:\n"

const groupFile = "root:x:0:\ng0:x:3000:\ng1:x:3001:\ng2:x:3002:\n"

func (m model) clone() model {
	seen := map[*node]*node{}
	out := model{}
	for p, n := range m {
		if seen[n] == nil {
			c := *n
			c.user = maps.Clone(n.user)
			seen[n] = &c
		}
		out[p] = seen[n]
	}
	return out
}

func ownerName(prefix string, id int) string {
	if id == 0 {
		return "root"
	}
	if id < 3000 || id > 3003 {
		return fmt.Sprintf("#%d", id)
	}
	return fmt.Sprintf("%s%d", prefix, id-3000)
}

func blob(data string) state.Hash {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(data), data))
	return state.Hash(hex.EncodeToString(sum[:]))
}

func aclText(mode uint32, rights uint16) string {
	rwx := func(v uint32) string {
		b := []byte("---")
		for i, c := range []byte("rwx") {
			if v&(4>>i) != 0 {
				b[i] = c
			}
		}
		return string(b)
	}
	return fmt.Sprintf("user::%s,user:u1:%s,group::r--,mask::%s,other::%s", rwx(mode>>6), rwx(uint32(rights)), rwx(mode>>3), rwx(mode))
}

// aclBytes is the kernel's form (posix_acl_xattr.h).
func aclBytes(mode uint32, rights uint16) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{
		{1, uint16(mode >> 6 & 7), ^uint32(0)},
		{2, rights, 3001},
		{4, 4, ^uint32(0)},
		{0x10, uint16(mode >> 3 & 7), ^uint32(0)},
		{0x20, uint16(mode & 7), ^uint32(0)},
	} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// entries is the state that the model stands for.
func (m model) entries() map[state.Path]state.Entry {
	first := map[*node]string{}
	out := map[state.Path]state.Entry{}
	for _, p := range slices.Sorted(maps.Keys(m)) {
		n := m[p]
		e := state.Entry{Kind: n.kind, Mode: n.mode, Owner: ownerName("u", n.uid), Group: ownerName("g", n.gid)}
		switch n.kind {
		case state.File:
			e.Size, e.Data = int64(len(n.data)), blob(n.data)
			if f, ok := first[n]; ok {
				e.Hard = state.Path(f)
			} else {
				first[n] = p
			}
		case state.Link:
			e.Target = n.target
		}
		x := map[string]string{}
		maps.Copy(x, n.user)
		if n.acl != 0 {
			x["system.posix_acl_access"] = aclText(n.mode, n.acl)
		}
		if n.defacl != 0 {
			x["system.posix_acl_default"] = aclText(0o750, n.defacl)
		}
		if len(x) > 0 {
			e.Xattrs = x
		}
		out[state.Path(p)] = e
	}
	return out
}

func diff(a, b model) []state.Change {
	x, y := a.entries(), b.entries()
	var out []state.Change
	for p, e := range x {
		if f, ok := y[p]; !ok {
			out = append(out, state.Change{Path: p, Before: &e})
		} else if !e.Equal(f) {
			out = append(out, state.Change{Path: p, Before: &e, After: &f})
		}
	}
	for p, f := range y {
		if _, ok := x[p]; !ok {
			out = append(out, state.Change{Path: p, After: &f})
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// content serves what any of the models holds.
func content(models ...model) func(state.Hash) (io.ReadCloser, error) {
	all := map[state.Hash]string{}
	for _, m := range models {
		for _, n := range m {
			all[blob(n.data)] = n.data
		}
	}
	return func(h state.Hash) (io.ReadCloser, error) {
		data, ok := all[h]
		if !ok {
			return nil, fmt.Errorf("no content %s", h)
		}
		return io.NopCloser(strings.NewReader(data)), nil
	}
}

// write makes the tree on disk.
func (m model) write(t testing.TB, root string) {
	t.Helper()
	first := map[*node]string{}
	check := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(m)) {
		n, at := m[p], filepath.Join(root, p)
		if f, ok := first[n]; ok && n.kind == state.File {
			check(os.Link(f, at))
			continue
		}
		first[n] = at
		switch n.kind {
		case state.File:
			check(os.WriteFile(at, []byte(n.data), 0o600))
		case state.Dir:
			check(os.MkdirAll(at, 0o700))
		case state.Link:
			check(os.Symlink(n.target, at))
		}
		check(os.Lchown(at, n.uid, n.gid))
		if n.kind == state.Link {
			continue
		}
		check(unix.Chmod(at, n.mode))
		for k, v := range n.user {
			check(unix.Setxattr(at, k, []byte(v), 0))
		}
	}
	for p, n := range m { // last: files would inherit the default ones
		if n.acl != 0 {
			check(unix.Setxattr(filepath.Join(root, p), "system.posix_acl_access", aclBytes(n.mode, n.acl), 0))
		}
		if n.defacl != 0 {
			check(unix.Setxattr(filepath.Join(root, p), "system.posix_acl_default", aclBytes(0o750, n.defacl), 0))
		}
	}
}

// compare lists how the disk differs from the model.
func (m model) compare(root string, tops ...string) []string {
	var out []string
	seen := map[string]bool{}
	inodes := map[uint64]*node{}
	nodes := map[*node]uint64{}
	for _, top := range tops {
		err := filepath.Walk(filepath.Join(root, top), func(at string, _ os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			p, _ := filepath.Rel(root, at)
			seen[p] = true
			n := m[p]
			if n == nil {
				out = append(out, fmt.Sprintf("%q should not be there", p))
				return nil
			}
			var st unix.Stat_t
			if err := unix.Lstat(at, &st); err != nil {
				return err
			}
			out = append(out, n.differs(p, at, &st)...)
			if n.kind == state.File {
				if o, ok := inodes[st.Ino]; ok && o != n {
					out = append(out, fmt.Sprintf("%q is the same file as another that it should not be", p))
				}
				if i, ok := nodes[n]; ok && i != st.Ino {
					out = append(out, fmt.Sprintf("%q is not the same file as its other names", p))
				}
				inodes[st.Ino], nodes[n] = n, st.Ino
			}
			return nil
		})
		if err != nil {
			out = append(out, err.Error())
		}
	}
	for p := range m {
		if !seen[p] {
			out = append(out, fmt.Sprintf("%q is missing", p))
		}
	}
	slices.Sort(out)
	return out
}

func (n *node) differs(p, at string, st *unix.Stat_t) []string {
	var out []string
	add := func(what string, got, want any) {
		out = append(out, fmt.Sprintf("%q: %s is %v; want %v", p, what, got, want))
	}
	kinds := map[state.Kind]uint32{state.File: unix.S_IFREG, state.Dir: unix.S_IFDIR, state.Link: unix.S_IFLNK}
	if st.Mode&unix.S_IFMT != kinds[n.kind] {
		add("kind", fmt.Sprintf("%o", st.Mode&unix.S_IFMT), string(n.kind))
		return out
	}
	if int(st.Uid) != n.uid || int(st.Gid) != n.gid {
		add("owner", fmt.Sprint(st.Uid, ":", st.Gid), fmt.Sprint(n.uid, ":", n.gid))
	}
	if n.kind == state.Link {
		if got, _ := os.Readlink(at); got != n.target {
			add("target", got, n.target)
		}
		return out
	}
	if st.Mode&0o7777 != n.mode {
		add("mode", fmt.Sprintf("%o", st.Mode&0o7777), fmt.Sprintf("%o", n.mode))
	}
	if n.kind == state.File {
		if got, err := os.ReadFile(at); err != nil || string(got) != n.data {
			add("content", string(got), n.data)
		}
	}
	want := map[string][]byte{}
	for k, v := range n.user {
		want[k] = []byte(v)
	}
	if n.acl != 0 {
		want["system.posix_acl_access"] = aclBytes(n.mode, n.acl)
	}
	if n.defacl != 0 {
		want["system.posix_acl_default"] = aclBytes(0o750, n.defacl)
	}
	buf := make([]byte, 4096)
	size, err := unix.Llistxattr(at, buf)
	if err != nil {
		add("attributes", err, "list")
	}
	for k := range strings.SplitSeq(string(buf[:max(size, 0)]), "\x00") {
		if k == "" {
			continue
		}
		v := make([]byte, 4096)
		size, err := unix.Lgetxattr(at, k, v)
		if w, ok := want[k]; err != nil || !ok || !bytes.Equal(v[:size], w) {
			add("attribute "+k, v[:max(size, 0)], w)
		}
		delete(want, k)
	}
	for k := range want {
		add("attribute "+k, "missing", want[k])
	}
	return out
}

// Random models. Names are such as people and programs make, and such as nobody should.
func names() []string {
	return []string{"a", "b", "a-b", "conf.d", "x y", "\xff\xfe", "ü", "new\nline", "a:b,c", "-rf", ".hidden", `back\slash`, "'q'", strings.Repeat("n", 255), "journal.done", "0"}
}

func randomNode(r *rand.Rand, kind state.Kind) *node {
	ids := []int{0, 0, 3000, 3001, 3002, 4711}
	n := &node{kind: kind, mode: []uint32{0o644, 0o600, 0o755, 0o640, 0o4755, 0o2755, 0o1777, 0, 0o444}[r.IntN(9)], uid: ids[r.IntN(6)], gid: ids[r.IntN(6)]}
	switch kind {
	case state.File:
		n.data = strings.Repeat(fmt.Sprintf("line %d\n", r.IntN(1000)), r.IntN(4))
		if r.IntN(20) == 0 {
			n.data = strings.Repeat("\x00", 70_000) + n.data
		}
	case state.Link:
		n.mode, n.target = 0o777, []string{"a", "../b", "/etc/shadow", "nowhere\xff", ".."}[r.IntN(5)]
		return n
	}
	dressUp(r, n)
	return n
}

func dressUp(r *rand.Rand, n *node) {
	n.user, n.acl, n.defacl = nil, 0, 0
	if r.IntN(4) == 0 {
		n.user = map[string]string{"user.note": fmt.Sprint(r.IntN(9)), "user.\xfe": "\x00\xff"}
	}
	if r.IntN(4) == 0 {
		n.acl = uint16(1 + r.IntN(7))
	}
	if n.kind == state.Dir && r.IntN(5) == 0 {
		n.defacl = uint16(1 + r.IntN(7))
	}
}

func (m model) dirs() []string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(m)) {
		if m[p].kind == state.Dir && strings.Count(p, "/") < 5 {
			out = append(out, p)
		}
	}
	return out
}

func pick[T any](r *rand.Rand, l []T) T { return l[r.IntN(len(l))] }

func (m model) drop(p string) {
	for q := range m {
		if q == p || strings.HasPrefix(q, p+"/") {
			delete(m, q)
		}
	}
}

// others are paths that may be changed at will.
func (m model) others() []string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(m)) {
		if p != "etc" && p != "var" && p != "etc/passwd" && p != "etc/group" {
			out = append(out, p)
		}
	}
	return out
}

func base() model {
	return model{
		"etc":        {kind: state.Dir, mode: 0o755},
		"var":        {kind: state.Dir, mode: 0o755},
		"etc/passwd": {kind: state.File, mode: 0o644, data: accounts},
		"etc/group":  {kind: state.File, mode: 0o644, data: groupFile},
	}
}

// mutate makes one change of any kind.
func (m model) mutate(r *rand.Rand) {
	kinds := []state.Kind{state.File, state.File, state.Dir, state.Dir, state.Link}
	free := func() string { return pick(r, m.dirs()) + "/" + pick(r, names()) }
	list := m.others()
	if len(list) == 0 || r.IntN(3) == 0 {
		p := free()
		if p != "etc/passwd" && p != "etc/group" {
			m.drop(p) // a change of kind, often
			m[p] = randomNode(r, pick(r, kinds))
		}
		return
	}
	p := pick(r, list)
	n := m[p]
	switch r.IntN(8) {
	case 0:
		m.drop(p)
	case 1: // a move, of a tree too
		to := free()
		if m[to] != nil || strings.HasPrefix(to, p+"/") {
			return
		}
		for q, v := range maps.Clone(m) {
			if q == p || strings.HasPrefix(q, p+"/") {
				delete(m, q)
				m[to+q[len(p):]] = v
			}
		}
	case 2:
		if n.kind == state.File {
			n.data += "edited\n"
		}
	case 3:
		if n.kind != state.Link {
			n.mode = pick(r, []uint32{0o600, 0o644, 0o711, 0o4711})
		}
	case 4:
		n.uid, n.gid = pick(r, []int{0, 3000, 3001}), pick(r, []int{0, 3000, 4712})
	case 5:
		if n.kind != state.Link {
			dressUp(r, n)
		}
	case 6: // another name
		to := free()
		if n.kind == state.File && m[to] == nil {
			m[to] = n
		}
	case 7: // a file of its own again, or another kind
		c := *n
		c.user = maps.Clone(n.user)
		if n.kind == state.File && r.IntN(2) == 0 {
			m[p] = &c
			return
		}
		m.drop(p)
		m[p] = randomNode(r, pick(r, kinds))
	}
}

func random(r *rand.Rand, changes int) (before, after model) {
	before = base()
	for range 25 {
		before.mutate(r)
	}
	after = before.clone()
	for range changes {
		after.mutate(r)
	}
	if r.IntN(4) == 0 { // files of an account that comes along with them
		after["etc/passwd"].data = accounts + "u3:x:3003:3003::/:\n"
		p := pick(r, append(after.others(), "etc"))
		after[p].uid = 3003
	}
	return before, after
}
