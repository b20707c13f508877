package vendor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

// load reads a pack with these conversions, as a vendor would write them.
func load(t *testing.T, conversions string) []convert.Step {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "groupware")
	text := `name: groupware
title: Groupware
packages: [groupware]
processes: [{name: d, command: [/usr/sbin/d], ready: {notify: true}}]
config: [/etc/groupware, /etc/groupware.conf]
conversions:
` + conversions
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, pack.FileName), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := pack.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return Steps([]pack.Pack{p}, func(command []string, timeout time.Duration, text []byte) ([]byte, []byte, error) {
		if strings.Contains(string(text), "broken") {
			return nil, []byte("line 1 is broken\n"), errors.New("exit status 1")
		}
		if timeout != 10*time.Second {
			t.Errorf("timeout %s", timeout)
		}
		return []byte(strings.Join(command, " ") + "\n" + string(text)), []byte("colours are lost\n"), nil
	})
}

func tree(files map[string]string) *convert.Tree {
	t := convert.NewTree(nil)
	for p, text := range files {
		t.Write(state.Path(p), []byte(text))
	}
	return t
}

func texts(t *convert.Tree) map[string]string {
	out := map[string]string{}
	for _, p := range t.All() {
		out[string(p)] = string(t.Text(p))
	}
	return out
}

func TestSteps(t *testing.T) {
	for _, c := range []struct {
		name, conversion string
		from, to         int
		before, after    map[string]string
		findings         []string
	}{
		{
			"a file moves", "{id: a, between: [12, 13], title: It moves., move: {from: /etc/groupware/a, to: /etc/groupware/b}}", 12, 13,
			map[string]string{"etc/groupware/a": "x\n"},
			map[string]string{"etc/groupware/b": "x\n"},
			[]string{"etc/groupware/a:0 moved It moves."},
		},
		{
			"a folder moves back", "{id: a, between: [12, 13], title: It moves., move: {from: /etc/groupware/a, to: /etc/groupware/b}}", 13, 12,
			map[string]string{"etc/groupware/b/c": "x\n"},
			map[string]string{"etc/groupware/a/c": "x\n"},
			[]string{"etc/groupware/b:0 moved It moves."},
		},
		{
			"both are there", "{id: a, between: [12, 13], title: It moves., move: {from: /etc/groupware/a, to: /etc/groupware/b}}", 12, 13,
			map[string]string{"etc/groupware/a": "x\n", "etc/groupware/b": "y\n"},
			map[string]string{"etc/groupware/a": "x\n", "etc/groupware/b": "y\n"},
			[]string{"etc/groupware/a:0 approximated /etc/groupware/b is there already; what is here is not read there. Put both into one place."},
		},
		{
			"a key in a section", `{id: a, between: [12, 13], title: Renamed., rename_key: {file: "/etc/groupware/*.ini", format: ini, section: net, from: port, to: listen}}`, 12, 13,
			map[string]string{"etc/groupware/a.ini": "port = 1\n[net]\n  port=2 \n", "etc/groupware/a.txt": "[net]\nport = 3\n"},
			map[string]string{"etc/groupware/a.ini": "port = 1\n[net]\n  listen=2 \n", "etc/groupware/a.txt": "[net]\nport = 3\n"},
			[]string{"etc/groupware/a.ini:3 renamed Renamed."},
		},
		{
			"a key on the way back", "{id: a, between: [12, 13], title: Renamed., rename_key: {file: /etc/groupware.conf, format: space, from: port, to: listen}}", 13, 12,
			map[string]string{"etc/groupware.conf": "listen 2\n"},
			map[string]string{"etc/groupware.conf": "port 2\n"},
			[]string{"etc/groupware.conf:1 renamed Renamed."},
		},
		{
			"a line", "{id: a, between: [12, 13], title: Said otherwise., next: Look., replace: {file: /etc/groupware.conf, line: old way, with: new way}}", 12, 13,
			map[string]string{"etc/groupware.conf": "a\n\told way\r\nold way too\n"},
			map[string]string{"etc/groupware.conf": "a\n\tnew way\r\nold way too\n"},
			[]string{"etc/groupware.conf:2 rewritten Said otherwise. Look."},
		},
		{
			"a pattern and its way back", `{id: a, between: [12, 13], title: Path., replace: {file: /etc/groupware.conf, regexp: "/lib/(x|y)/", with: "/lib64/$1/", back: {regexp: "/lib64/(x|y)/", with: "/lib/$1/"}}}`, 13, 12,
			map[string]string{"etc/groupware.conf": "a /lib64/x/ /lib64/z/\n"},
			map[string]string{"etc/groupware.conf": "a /lib/x/ /lib64/z/\n"},
			[]string{"etc/groupware.conf:1 rewritten Path."},
		},
		{
			"a default", "{id: a, between: [11, 12], title: Slower., pin_default: {file: /etc/groupware.conf, format: shell, key: WORKERS, old: \"3\"}}", 11, 12,
			map[string]string{"etc/groupware.conf": "A=1\n"},
			map[string]string{"etc/groupware.conf": "A=1\n# What Debian 11 does by itself: Slower.\nWORKERS=3\n"},
			[]string{"etc/groupware.conf:0 default pinned Slower."},
		},
		{
			"a default that is said", "{id: a, between: [12, 13], title: Slower., pin_default: {file: /etc/groupware.conf, format: equals, key: workers, old: \"3\", new: \"4\"}}", 13, 12,
			map[string]string{"etc/groupware.conf": "workers = 2\n"},
			map[string]string{"etc/groupware.conf": "workers = 2\n"},
			nil,
		},
		{
			"a program", `{id: a, between: [12, 13], title: Made anew., program: {files: ["/etc/groupware/*"], command: [/bin/convert, -x]}}`, 12, 13,
			map[string]string{"etc/groupware/a": "x\n", "etc/groupware/b": "broken\n"},
			map[string]string{"etc/groupware/a": "/bin/convert -x 12 13 /etc/groupware/a\nx\n", "etc/groupware/b": "broken\n"},
			[]string{
				"etc/groupware/a:0 approximated colours are lost", "etc/groupware/a:0 rewritten Made anew.",
				"etc/groupware/b:0 blocking The pack's program could not convert this file: exit status 1. line 1 is broken",
			},
		},
		{
			"another pair of releases", "{id: a, between: [11, 12], title: It moves., move: {from: /etc/groupware/a, to: /etc/groupware/b}}", 12, 13,
			map[string]string{"etc/groupware/a": "x\n"},
			map[string]string{"etc/groupware/a": "x\n"},
			nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps := load(t, "  - "+c.conversion+"\n")
			before := tree(c.before)
			got, err := convert.Convert(steps, c.from, c.to, before)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.after, texts(got.Tree)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			var said []string
			for _, f := range got.Findings {
				said = append(said, strings.TrimSpace(strings.Join([]string{string(f.Path) + ":" + string(rune('0'+f.Line)), string(f.Class), f.What, f.Next}, " ")))
			}
			if d := cmp.Diff(c.findings, said); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			back, err := convert.Return(steps, convert.Keep(c.from, c.to, before, got.Tree), got.Tree)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.before, texts(back.Tree)); d != "" {
				t.Errorf("there and back (-want +got):\n%s", d)
			}
		})
	}
}

func TestSandboxed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make namespaces")
	}
	out, said, err := Sandboxed([]string{"/bin/sh", "-c", "id -u; tr a-z A-Z; ls /sys/class/net >/dev/null; echo words >&2; (echo >/etc/atlas-trial) 2>/dev/null && echo written; true"}, 10*time.Second, []byte("text\n"))
	if err != nil || string(out) != "65534\nTEXT\n" || string(said) != "words\n" {
		t.Errorf("out %q, said %q, %v", out, said, err)
	}
	if _, _, err := Sandboxed([]string{"/bin/sh", "-c", "exit 3"}, 10*time.Second, nil); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a program that fails: %v", err)
	}
	start := time.Now()
	if _, _, err := Sandboxed([]string{"/bin/sh", "-c", "sleep 60 & sleep 60"}, 300*time.Millisecond, nil); err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Errorf("a program that hangs: %v", err)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("a program that hangs is waited for: %s", d)
	}
	if _, _, err := Sandboxed([]string{"/bin/sh", "-c", "cat /dev/zero"}, 20*time.Second, nil); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a program that writes without end: %v", err)
	}
}

// TestSOGo: the groupware that ATLAS has as an example, with the sample of its makers in /etc.
func TestSOGo(t *testing.T) {
	p, err := pack.Load("../../../build/profiles/packs/sogo")
	if err != nil {
		t.Fatal(err)
	}
	steps := Steps([]pack.Pack{p}, nil)
	before := map[string]string{"etc/apache2/conf-enabled/sogo.conf": "Alias /SOGo/WebServerResources/ \\\n\t/usr/lib/GNUstep/SOGo/WebServerResources/\n"}
	got, err := convert.Convert(steps, 12, 13, tree(before))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"etc/apache2/conf-enabled/sogo.conf": "Alias /SOGo/WebServerResources/ \\\n\t/usr/lib/x86_64-linux-gnu/GNUstep/SOGo/WebServerResources/\n"}
	if d := cmp.Diff(want, texts(got.Tree)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if len(got.Findings) != 1 || got.Findings[0].Line != 2 || got.Findings[0].Step != "sogo-resources" {
		t.Errorf("findings %+v", got.Findings)
	}
	back, err := convert.Convert(steps, 13, 12, got.Tree)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, texts(back.Tree)); d != "" {
		t.Errorf("back (-want +got):\n%s", d)
	}
}
