package health

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/watch/health/reading"
)

// rig is a made-up server: a copy of testdata/made-up-server that can be changed, a clock that is moved, and answers of a fake smartctl.
type rig struct {
	t       *testing.T
	root    string
	now     time.Time
	booted  time.Time
	facts   Facts
	space   map[string]reading.Space
	smart   map[string]string // device → file in testdata/made-up-smart, or what the fake smartctl prints
	noSmart bool
	asked   int
	w       *Watcher
}

const (
	setDir   = "/run/atlas/set"
	stateDir = "/run/atlas/state"
	gib      = 1 << 30
)

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{
		t: t, root: t.TempDir(), now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		space: map[string]reading.Space{
			setDir:   {Size: 1000 * gib, Free: 600 * gib, Inodes: 1000, InodesFree: 900},
			stateDir: {Size: 10 * gib, Free: 9 * gib, Inodes: 1000, InodesFree: 900},
		},
		smart: map[string]string{"/dev/sda": "good-ata.json", "/dev/sdb": "good-ata.json", "/dev/nvme0n1": "good-nvme.json"},
		facts: Facts{Kind: hardware, Serving: true, Inventory: &hwcheck.Inventory{
			Disks: []hwcheck.Disk{
				{Dev: "/dev/sda", Bay: 1, Serial: "S-1", Bus: "sata"},
				{Dev: "/dev/sdb", Bay: 2, Serial: "S-2", Bus: "sata"},
				{Dev: "/dev/nvme0n1", Serial: "N-1", Bus: "nvme"},
				{Dev: "/dev/sr0", Removable: true},
			},
			NICs: []hwcheck.NIC{{Name: "eth0", Link: true, Speed: 1000}, {Name: "eth1", Link: true, Speed: 1000}},
		}},
	}
	r.booted = r.now.Add(-2 * time.Hour)
	if err := os.CopyFS(r.root, os.DirFS("testdata/made-up-server")); err != nil {
		t.Fatal(err)
	}
	r.w = New(Config{
		Root: reading.Root(r.root), SetDir: setDir, StateDir: stateDir, Facts: func() Facts { return r.facts }, Now: func() time.Time { return r.now },
		Statfs: func(p string) (reading.Space, error) { return r.space[p], nil }, Run: r.fakeSmartctl, Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(r.w.rules.close)
	return r
}

func (r *rig) fakeSmartctl(_ context.Context, name string, args ...string) ([]byte, error) {
	if r.noSmart {
		return nil, &exec.Error{Name: name, Err: exec.ErrNotFound}
	}
	r.asked++
	said := r.smart[args[len(args)-1]]
	if data, err := os.ReadFile(filepath.Join("testdata/made-up-smart", said)); err == nil {
		return data, nil
	}
	return []byte(said), nil
}

// set writes a file of the server.
func (r *rig) set(path, text string) {
	r.t.Helper()
	p := filepath.Join(r.root, path)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// kernel has the kernel say something now.
func (r *rig) kernel(text string) {
	r.t.Helper()
	f, err := os.OpenFile(filepath.Join(r.root, "dev/kmsg"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "3,100,%d,-;%s\n", r.now.Sub(r.booted).Microseconds(), text)
}

// pass lets time pass, with all looks that are due in it.
func (r *rig) pass(d time.Duration) {
	for end := r.now.Add(d); r.now.Before(end); r.now = r.now.Add(cheap) {
		r.set("proc/uptime", fmt.Sprintf("%.2f 0.00\n", r.now.Sub(r.booted).Seconds()))
		for _, s := range r.w.due() {
			r.w.look(r.t.Context(), s)
		}
	}
}

// found is the finding of that ID.
func (r *rig) found(id string) (initapi.Finding, bool) {
	for _, f := range r.w.Status().Findings {
		if f.ID == id {
			return f, true
		}
	}
	return initapi.Finding{}, false
}

func (r *rig) ids() []string {
	var out []string
	for _, f := range r.w.Status().Findings {
		out = append(out, f.Severity+" "+f.ID)
	}
	return out
}
