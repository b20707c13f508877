package place

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for mount namespaces")
	}
	// A root of nothing but mount points, with the host's programs bound into it.
	root := t.TempDir()
	for _, d := range []string{"dev", "proc", "sys", "tmp", "run", "var/tmp", "var/cache", "mnt", "usr"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []string{"bin", "lib", "lib64", "sbin"} {
		if err := os.Symlink("usr/"+l, filepath.Join(root, l)); err != nil {
			t.Fatal(err)
		}
	}
	shown := t.TempDir()
	p := Place{Root: root, Binds: []Bind{{From: "/usr", To: "/usr"}, {From: shown, To: "/mnt"}}}
	cmd, err := p.Command("/bin/sh", "-c", "pwd; echo seen >/mnt/file; (: >/new) 2>/dev/null || echo read-only; test -e /etc || echo no /etc")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := p.Run(cmd); err != nil {
		t.Fatalf("run: %v\n%s", err, &out)
	}
	if got, want := out.String(), "/\nread-only\nno /etc\n"; got != want {
		t.Errorf("output %q; want %q", got, want)
	}
	if got, err := os.ReadFile(filepath.Join(shown, "file")); err != nil || string(got) != "seen\n" {
		t.Errorf("file written through the bind: %q, %v", got, err)
	}
	if _, err := os.Stat("/etc"); err != nil {
		t.Error("the caller's own root changed:", err)
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), root) {
		t.Error("a mount leaked into the caller's namespace")
	}
}

func TestLookFails(t *testing.T) {
	if _, err := (Place{Root: t.TempDir()}).Command("sh"); err == nil || !strings.Contains(err.Error(), "no such program") {
		t.Errorf("Command in an empty root: %v; want no such program", err)
	}
}
