package supervise

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/logfile"
)

// TestWatch boots one disk set again and again: the step runs when something that it watches is different, and else is left out.
func TestWatch(t *testing.T) {
	set, packDir := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(packDir+"/init.sh", "1")
	made := filepath.Join(t.TempDir(), "made")
	version, argument, fails := "1.0", "a", false
	boot := func() int {
		t.Helper()
		b := newBench(t)
		b.opts.Root, b.opts.Version = set, version
		command := sh("echo " + argument + " >> " + made)
		if fails {
			command = sh("echo " + argument + " >> " + made + "; exit 1")
		}
		svc := &Service{sup: b.Supervisor, pack: pack.Pack{Name: "a", Dir: packDir}, log: logfile.New(filepath.Join(b.dir, "a.log"), 0, 0), starts: 1}
		before, _ := os.ReadFile(made)
		err := svc.steps(t.Context(), []pack.Step{{Name: "make", Watch: []string{"/etc/secret", "/srv/dir"}, Command: command}})
		if (err != nil) != fails {
			t.Fatalf("step: %v", err)
		}
		after, _ := os.ReadFile(made)
		return strings.Count(string(after), "\n") - strings.Count(string(before), "\n")
	}
	for _, tc := range []struct {
		what   string
		change func()
		want   int
	}{
		{"first boot", func() {}, 1},
		{"nothing new", func() {}, 0},
		{"a watched file appears", func() { write(set+"/etc/secret", "x") }, 1},
		{"nothing new again", func() {}, 0},
		{"it changes", func() { write(set+"/etc/secret", "xy") }, 1},
		{"a directory appears", func() { write(set+"/srv/dir/f", "") }, 1},
		{"something in it does not count", func() { write(set+"/srv/dir/g", "") }, 0},
		{"the pack's script is another", func() { write(packDir+"/init.sh", "2") }, 1},
		{"the image is another", func() { version = "1.1" }, 1},
		{"the arguments are others", func() { argument = "b" }, 1},
		{"it fails", func() { fails = true; version = "1.2" }, 1},
		{"what failed is tried again", func() {}, 1},
		{"and then succeeds", func() { fails = false }, 1},
		{"nothing new at last", func() {}, 0},
	} {
		tc.change()
		if got := boot(); got != tc.want {
			t.Errorf("%s: the step ran %d times; want %d", tc.what, got, tc.want)
		}
	}
}
