package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sayasystems.com/atlas/image/pack"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/tree"
	"sayasystems.com/atlas/sentry/sync/state"
)

// images are roots of Debian 12 and 13, and a set that was used with the first.
func images(t *testing.T) (set string, roots map[string]string) {
	t.Helper()
	packs, err := filepath.Abs("../image/packs")
	must(t, err)
	roots = map[string]string{}
	for _, n := range []string{"12", "13"} {
		root := t.TempDir()
		roots[n] = root
		for path, text := range map[string]string{
			"etc/debian_version": n + ".1\n", "etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/group": "root:x:0:\n", "etc/machine-id": "uninitialized\n",
			"etc/ssh/sshd_config": "# of Debian " + n + "\n",
		} {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
			must(t, os.WriteFile(filepath.Join(root, path), []byte(text), 0o644))
		}
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, layout.PacksDir)), 0o755))
		must(t, os.Symlink(packs, filepath.Join(root, layout.PacksDir)))
	}
	set = t.TempDir()
	_, err = tree.Prepare(t.Context(), set, roots["12"], "1", tree.Conversion{})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(set, "etc/1/ssh/sshd_config"), []byte("ChallengeResponseAuthentication no\nHostKeyAlgorithms ssh-dss,ssh-ed25519\nHostKeyAlgorithms ssh-dss\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(set, "etc/1/machine-id"), []byte("mine\n"), 0o644))
	return set, roots
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// inHere runs the helper without a process of its own.
func inHere(ctx context.Context, set, image, version string) (tree.Report, error) {
	var out bytes.Buffer
	var r tree.Report
	if err := run(ctx, []string{"init", prepareVerb, set, image, version}, nil, &out); err != nil {
		return r, err
	}
	return r, json.Unmarshal(out.Bytes(), &r)
}

func TestPrepareConverts(t *testing.T) {
	set, roots := images(t)
	p := treePreparer{log: slog.New(slog.DiscardHandler), convert: inHere}
	var said []string
	say := func(s string) { said = append(said, s) }
	got, err := p.prepare(t.Context(), set, roots["13"], "2", say)
	must(t, err)
	if len(said) != 1 || said[0] != "Converting the configuration from Debian 12 to 13" {
		t.Errorf("said %q", said)
	}
	if !strings.Contains(got.Note, "converted from Debian 12 to 13 in ") || !strings.Contains(got.Note, ": 1 file, ") {
		t.Errorf("note %q", got.Note)
	}
	if text := content(t, filepath.Join(set, "etc/2/ssh/sshd_config")); !strings.Contains(text, "ssh-ed25519") || strings.Contains(text, "ssh-dss,") {
		t.Errorf("sshd_config: %s", text)
	}
	if text := content(t, filepath.Join(set, "etc/2/machine-id")); text != "mine\n" {
		t.Errorf("what belongs to this server: %q", text)
	}
	first := got.Findings("left")
	for _, f := range first {
		if f.Severity == "" || !strings.HasPrefix(f.Where, "left") || !strings.HasPrefix(f.ID, "etc-convert-") {
			t.Errorf("finding %+v", f)
		}
	}

	t.Log("the same image once more, and another of that release: nothing is converted, and what was found is told again")
	for _, version := range []string{"2", "2b"} {
		said = nil
		p.convert = func(context.Context, string, string, string) (tree.Report, error) { panic("not asked for") }
		if got, err = p.prepare(t.Context(), set, roots["13"], version, say); err != nil || len(said) > 0 || strings.Contains(got.Note, "converted") {
			t.Errorf("%s: said %q, %+v, %v", version, said, got, err)
		}
		if d := cmp.Diff(first, got.Findings("left")); d != "" || len(first) == 0 {
			t.Errorf("%s: told (-first +now):\n%s", version, d)
		}
	}
}

// TestPrepareGoesOn: when the helper fails or does not end, files are merged, the owner is told, and the boot goes on.
func TestPrepareGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		convert func(context.Context, string, string, string) (tree.Report, error)
		want    string
	}{
		"fails": {func(context.Context, string, string, string) (tree.Report, error) {
			return tree.Report{}, errors.New("signal: killed: out of memory")
		}, "out of memory"},
		"does not end": {func(ctx context.Context, _, _, _ string) (tree.Report, error) {
			<-ctx.Done()
			return tree.Report{}, ctx.Err()
		}, "it took longer than 2m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			set, roots := images(t)
			synctest.Test(t, func(t *testing.T) {
				p := treePreparer{log: slog.New(slog.DiscardHandler), convert: c.convert}
				got, err := p.prepare(t.Context(), set, roots["13"], "2", func(string) {})
				must(t, err)
				told := got.Findings("left")
				if len(told) != 1 || told[0].Severity != "critical" || !strings.Contains(told[0].What, c.want) || !strings.Contains(got.Note, c.want) {
					t.Errorf("note %q, told %+v", got.Note, told)
				}
			})
			if text := content(t, filepath.Join(set, "etc/2/ssh/sshd_config")); !strings.Contains(text, "ChallengeResponse") {
				t.Errorf("sshd_config: %s", text)
			}
		})
	}
	set, roots := images(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := treePreparer{log: slog.New(slog.DiscardHandler), convert: inHere}
	if _, err := p.prepare(ctx, set, roots["13"], "2", func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("while the server ends: %v", err)
	}
	if link, err := os.Readlink(filepath.Join(set, "etc/current")); err != nil || link != "1" {
		t.Errorf("while the server ends: current leads to %s, %v", link, err)
	}
}

func TestSharedBy(t *testing.T) {
	packs, err := pack.LoadAll("../image/packs")
	if err != nil {
		t.Fatal(err)
	}
	shared, err := sharedBy(t.TempDir(), packs)
	must(t, err)
	for p, want := range map[state.Path]bool{
		"etc/passwd": true, "etc/ssh/sshd_config": true, "etc/ldap/slapd.d/cn=config.ldif": true, "etc/ldap/slapd.d/cn=config.ldif~": false,
		"etc/machine-id": false, "etc/samba/atlas.conf": false, "etc/ldap/slapd.d.old/cn=config.ldif": false,
	} {
		if got := shared(p); got != want {
			t.Errorf("%s: %t; want %t", p, got, want)
		}
	}
}

// TestPrepareHelper is what runs in a process of its own.
func TestPrepareHelper(t *testing.T) {
	args := flag.Args()
	if len(args) == 0 {
		t.Skip("only for TestRunHelper")
	}
	switch args[0] {
	case prepareVerb:
		if err := run(context.Background(), append([]string{"init"}, args...), nil, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "init:", err)
			os.Exit(1)
		}
	case "hang":
		cmd := exec.Command("sleep", "1000")
		must(t, cmd.Start())
		must(t, os.WriteFile(args[1], []byte(strconv.Itoa(cmd.Process.Pid)), 0o600))
		select {}
	}
	os.Exit(0)
}

func TestRunHelper(t *testing.T) {
	set, roots := images(t)
	self := func(ctx context.Context, args ...string) (tree.Report, error) {
		return runHelper(ctx, os.Args[0], append([]string{"-test.run=^TestPrepareHelper$", "--"}, args...)...)
	}
	if _, err := self(t.Context(), prepareVerb, set); err == nil || !strings.Contains(err.Error(), "only process 1 calls this") {
		t.Errorf("a call that is wrong: %v", err)
	}
	r, err := self(t.Context(), prepareVerb, set, roots["13"], "2")
	if err != nil || r.Version != "2" || r.Converted == nil || len(r.Converted.Findings) == 0 {
		t.Errorf("report %+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	note := filepath.Join(t.TempDir(), "pid")
	go func() {
		for {
			if text, _ := os.ReadFile(note); len(text) > 0 {
				cancel()
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if _, err = self(ctx, "hang", note); err == nil {
		t.Error("one that hangs is not ended")
	}
	pid, err := strconv.Atoi(content(t, note))
	must(t, err)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) { // whoever takes in orphans here may be slow
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(state), ") Z ") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what the helper had started is still there")
		}
	}
}
