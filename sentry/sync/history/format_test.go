package history

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// unescape is the reverse of escape; ok is false for what escape never yields. It shows that names stay apart.
func unescape(escaped string) (name string, ok bool) {
	rest, found := strings.CutPrefix(escaped, escapePrefix)
	if !found {
		return escaped, escaped != "" && !refused(escaped)
	}
	b := make([]byte, 0, len(rest))
	for i := 0; i < len(rest); i++ {
		if rest[i] != '%' {
			b = append(b, rest[i])
			continue
		}
		if i+3 > len(rest) {
			return "", false
		}
		v, err := strconv.ParseUint(rest[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(v))
		i += 2
	}
	name = string(b)
	return name, escape(name) == escaped
}

func TestEscape(t *testing.T) {
	for name, want := range map[string]string{
		"hosts": "hosts", ".git": ".atlas=.git", ".GiT": ".atlas=.GiT", ".gitignore": ".atlas=.gitignore", "git": "git", ".atlas": ".atlas=.atlas",
		".atlas=.git": ".atlas=.atlas=.git", ".g\u200cit": ".atlas=.g%E2%80%8Cit", "a\\.git": ".atlas=a%5C.git", "a\\b": "a\\b", "%": "%", ".git%": ".atlas=.git%25",
	} {
		if got := escape(name); got != want {
			t.Errorf("escape(%q) = %q; want %q", name, got, want)
		}
		if got, ok := unescape(want); !ok || got != name {
			t.Errorf("unescape(%q) = %q, %v; want %q", want, got, ok, name)
		}
	}
	for _, bad := range []string{"", ".git", ".atlas", ".atlas=", ".atlas=hosts", ".atlas=.git%2", ".atlas=.git%zz", ".atlas=%2egit"} {
		if got, ok := unescape(bad); ok {
			t.Errorf("unescape(%q) = %q; want it refused", bad, got)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, n := range oddNames() {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got, ok := unescape(escape(name)); name != "" && (!ok || got != name) {
			t.Errorf("unescape(escape(%q)) = %q, %v", name, got, ok)
		}
		if back, ok := unescape(name); ok && escape(back) != name {
			t.Errorf("escape(unescape(%q)) = %q", name, escape(back))
		}
	})
}

const sidecarText = `atlas 1
f 0644 root root 158 hosts
  hard "a b"
  xattr system.posix_acl_access user::rw-,user:anna:r--,mask::r--,group::r--,other::---
  xattr user.x "\x00"
l 0777 root root - localtime -> /usr/share/zoneinfo/UTC
d 4755 "DOM\\web admins" "" - "new\nline"
`

func TestSidecar(t *testing.T) {
	items, err := parseSidecar([]byte(sidecarText))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(formatSidecar(items)); got != sidecarText || len(items) != 3 {
		t.Errorf("written again it is\n%s", got)
	}
	for name, change := range map[string][2]string{
		"head": {"atlas 1", "atlas 2"}, "kind": {"f 0644", "p 0644"}, "mode": {"0644", "644"}, "order": {"hosts", "z"}, "number": {"158", "0158"},
		"minus": {"158", "-158"}, "quoting": {"hosts", `"hosts"`}, "dot": {"hosts", ".."}, "slash": {"hosts", "a/b"}, "space": {"root root", "root  root"},
		"end": {"line\"\n", "line\""}, "open quote": {"line\"\n", "line\n"}, "unknown": {"  hard", "  soft"}, "bad hard": {`"a b"`, "/a"},
		"no target": {" -> /usr/share/zoneinfo/UTC", ""}, "attribute first": {"atlas 1\n", "atlas 1\n  hard x\n"}, "twice": {"  hard", "  hard x\n  hard"},
	} {
		bad := strings.Replace(sidecarText, change[0], change[1], 1)
		if bad == sidecarText {
			t.Fatalf("%s: nothing changed", name)
		}
		if _, err := parseSidecar([]byte(bad)); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

func FuzzSidecar(f *testing.F) {
	f.Add([]byte(sidecarText))
	f.Add([]byte(sidecarHead))
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := parseSidecar(b)
		if err != nil {
			return
		}
		if !bytes.Equal(formatSidecar(items), b) {
			t.Error("written again it differs")
		}
		for i := range items {
			if err := state.Path(items[i].name).Check(); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzTree(f *testing.F) {
	f.Add(formatTree([]item{{name: "a", kind: state.File}, {name: "b", kind: state.Dir}}, plumbing.Hash{1}))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseTree(b) })
}

func wordyCommit(t testing.TB) []byte {
	c := state.Commit{
		Seq: 3, Parent: strings.Repeat("a", 40), At: newClock().now(), Server: "web1", Title: "x", Note: "n\n\nm", Image: "1",
		Rollback: strings.Repeat("b", 40), Who: state.Who{PID: 3},
	}
	raw, err := formatCommit(&c, plumbing.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestCommitText(t *testing.T) {
	raw := string(wordyCommit(t))
	c, err := parseCommit([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	// What a later version adds.
	later := strings.Replace(raw+"Atlas-Mood: good\n", `"pid":3`, `"pid":3,"badge":"7"`, 1)
	got, err := parseCommit([]byte(later))
	if got.ID = c.ID; err != nil || got != c {
		t.Errorf("a commit of a later version = %+v, %v; want %+v", got, err, c)
	}
	for name, change := range map[string][2]string{
		"no trailers": {"Atlas-Seq", "Other-Seq"}, "foreign trailer": {"Atlas-Image", "Signed-off-by"}, "number": {"Seq: 3", "Seq: 0"}, "tree": {"tree 01", "tree x"},
		"parent": {"parent a", "parent x"}, "two parents": {"parent", "parent " + strings.Repeat("c", 40) + "\nparent"}, "signed": {"author", "gpgsig x\nauthor"},
		"date": {" +0000\ncommitter", " +0100\ncommitter"}, "author": {"author", "writer"}, "who": {`{"pid"`, `{"pid`}, "rollback": {"Rollback: b", "Rollback: x"},
		"title": {"\n\nx\n", "\n\nx\x1b\n"}, "two lines": {"\n\nx\n", "\n\nx\ny\n"}, "server": {`"web1"`, `web1`}, "end": {"\"1\"\n", "\"1\""},
	} {
		bad := strings.Replace(raw, change[0], change[1], 1)
		if bad == raw {
			t.Fatalf("%s: nothing changed", name)
		}
		if _, err := parseCommit([]byte(bad)); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

func FuzzCommit(f *testing.F) {
	f.Add(wordyCommit(f))
	f.Add([]byte("tree x\n\nAtlas-Seq: 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCommit(b)
		if err != nil {
			return
		}
		again, err := formatCommit(&c.Commit, c.tree)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseCommit(again)
		if got.ID = c.ID; err != nil || got != c {
			t.Errorf("written again it is %+v, %v; want %+v", got, err, c)
		}
	})
}
