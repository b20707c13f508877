package namespace

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/initsvc/handover"
)

func TestCGroupRoot(t *testing.T) {
	tests := map[string]string{
		"cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n": "/sys/fs/cgroup",
		"tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n": "/sys/fs/cgroup/unified",
		"cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n": "",
	}
	for mounts, want := range tests {
		if got := cgroupRoot(mounts); got != want {
			t.Errorf("cgroupRoot(%q) = %q; want %q", mounts, got, want)
		}
	}
}

func TestFindRoot(t *testing.T) {
	dir := t.TempDir()
	plain, other := filepath.Join(dir, "root.squashfs"), filepath.Join(dir, "other.img")
	if err := os.WriteFile(plain, []byte("hsqs and so on"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{plain, dir} {
		if offset, size, err := findRoot(image); err != nil || offset != 0 || size != 0 {
			t.Errorf("findRoot(%s) = %d, %d, %v; want the whole", image, offset, size, err)
		}
	}
	if _, _, err := findRoot(other); err == nil || !strings.Contains(err.Error(), other) {
		t.Errorf("findRoot of an empty disk: %v; want an error that names it", err)
	}
}

func TestRebootOrOff(t *testing.T) {
	tests := []struct {
		script string
		again  bool
	}{{"exit 0", false}, {"exit 3", true}, {"exit 1", false}, {"kill -HUP $$", true}, {"kill -INT $$", false}, {"kill -KILL $$", false}}
	// Under nohup the children would inherit that SIGHUP is ignored; a signal that is caught here is not ignored there.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	for _, tt := range tests {
		cmd := exec.Command("sh", "-c", tt.script)
		if err := cmd.Start(); err != nil {
			t.Skip("no sh:", err)
		}
		if got := wait(cmd); got != tt.again {
			t.Errorf("init ends with %q: started again %v; want %v", tt.script, got, tt.again)
		}
	}
}

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	f, err := folder.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := New(f, folder.Lab{Kind: folder.Namespace}, folder.Server{Name: "left"})
	if err := s.Create(ctx); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"fault", s.Fault(ctx, 1, "error"), "--kind vm"},
		{"CD", s.PowerOn(ctx, "cd"), "--kind vm"},
		{"cable of a server that is off", s.Cable(ctx, "", false), "lab power on left"},
		{"unknown card", s.Cable(ctx, "eth1", false), "it has eth0"},
		{"reset", s.Reset(ctx), "is off"},
	}
	for _, tt := range tests {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v; want an error with %q", tt.name, tt.err, tt.want)
		}
	}
	if err := s.PowerOff(ctx); err != nil {
		t.Errorf("PowerOff of a server that is off: %v; want nil", err)
	}
}

func TestSpec(t *testing.T) {
	f, err := folder.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(f.Dir, "image", "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	s := New(f, folder.Lab{Kind: folder.Namespace, Image: "root", Version: "7"}, folder.Server{Name: "left"})
	t.Cleanup(s.removeCGroup)
	sp, err := s.spec(Stick, "/dev/pts/9")
	if err != nil {
		t.Skip("cgroups cannot be made here:", err)
	}
	want := handover.Handover{
		Kind: "namespace", Mode: "install", Version: "7", State: "/run/atlas/lab/state", Stick: "/run/atlas/lab/stick",
		FakeBays: "/run/atlas/lab/bays", FakeArrays: "/run/atlas/lab/arrays",
	}
	if diff := cmp.Diff(want, sp.Handover); diff != "" {
		t.Errorf("handover (-want +got):\n%s", diff)
	}
	text, err := sp.encode()
	if err != nil {
		t.Fatal(err)
	}
	var back spec
	if err := json.Unmarshal([]byte(text), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sp, back); diff != "" {
		t.Errorf("description read back (-want +got):\n%s", diff)
	}
}
