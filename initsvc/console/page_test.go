package console

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

var update = flag.Bool("update", false, "write the golden files")

func views() map[string]View {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	services := []initapi.Service{{Name: "apache", Title: "Web server", State: "ready"}, {Name: "mariadb", Title: "Database", State: "failed"}}
	addresses := initapi.Addresses{Management: "10.7.0.11/24", Service: "10.7.0.10/24", ServiceMAC: "02:a7:1a:50:00:01", Announced: true}
	return map[string]View{
		"booting": {
			State: initapi.State{Version: "1.2.0", Server: "left", State: initapi.Booting, Phase: "Reading the labels of the disks"},
			Boot: initapi.BootReport{Phases: []initapi.PhaseReport{
				{Name: "mounts", Duration: 50 * time.Millisecond, Result: "ok"},
				{Name: "devices", Duration: 12345 * time.Millisecond, Result: "ok", Note: "80 drivers loaded"},
				{Name: "inventory", Result: "skipped", Note: "installing"},
				{Name: "network", Duration: 75 * time.Second, Result: "took too long: more than 1m15s: no link on any network interface that could be found"},
			}},
		},
		"primary": {
			State: initapi.State{
				Version: "1.2.0", Server: "left", State: initapi.Serving, Role: roles.Primary, Addresses: addresses, Services: services,
				Set: &initapi.Set{Level: roles.RAID1, SizeBytes: 480e9, FreeBytes: 123.4e9, Rebuild: "12 % (3 min left)", Members: []initapi.MemberInfo{{Bay: 1, State: "active"}, {Bay: 2, State: "rebuilding"}}},
				Findings: []initapi.Finding{
					{ID: "a", Severity: "critical", What: "Database does not run: mariadbd: ended by itself: exit status 1: InnoDB: cannot allocate memory for the buffer pool", Next: "It is started again by itself."},
					{ID: "b", Severity: "warning", What: "less memory than before"},
					{ID: "c", Severity: "info", What: "to know"},
				},
			},
			SiteName: "Miller Dental", Now: at,
			Summary: &initapi.Summary{Written: at, Verdict: initapi.VerdictNo, Reasons: []string{"the database on left does not answer since 11:58", "x"}, Dashboard: "https://10.7.0.11:8443/", JoinCode: "ZWNC2-K56S9"},
		},
		"secondary": {
			State: initapi.State{
				Version: "1.2.0", Server: "right", Kind: "namespace", State: initapi.Serving, Role: roles.Secondary, Services: services[:1],
				Addresses: initapi.Addresses{Management: "10.7.0.12/24", Service: "10.7.0.10/24"},
			},
			Now: at, Summary: &initapi.Summary{Written: at.Add(-time.Hour), Verdict: initapi.VerdictYes},
		},
		"holding": {
			State: initapi.State{
				Version: "1.2.0", Server: "left", State: initapi.Holding,
				Reasons: []roles.Reason{{Code: "x", Text: "The disk with serial LAB-L2 of the primary set is not in this server, and nothing records that it left.", Next: "Power off, put the missing disk into its bay, and power on."}},
				Disks: []roles.Disk{
					{Dev: "/dev/vdb", Bay: 1, Serial: "LAB-L1", Size: 2 << 30, Label: &roles.Label{Role: roles.Primary, SiteName: "Miller Dental"}},
					{Dev: "/dev/vdc", Bay: 2, Serial: "NEW", Size: 4e12, Blank: true},
					{Dev: "/dev/vdd", Serial: "OLD", Size: 500, Content: "ext4 filesystem"},
				},
			},
			Choices: []Choice{{Text: "Start it"}},
		},
		"stopping": {State: initapi.State{Version: "1.2.0", State: initapi.Stopping}},
	}
}

func TestPage(t *testing.T) {
	for name, v := range views() {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(Page(v, 79, 25), "\n") + "\n"
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
			for _, width := range []int{40, 79, 200} {
				for _, l := range Page(v, width, 25) {
					if n := len([]rune(l)); n > width {
						t.Errorf("width %d: line of %d: %q", width, n, l)
					}
				}
			}
		})
	}
}

func TestEveryHeadlineIsDrawn(t *testing.T) {
	for _, w := range []string{"primary", "secondary", "holding", "booting", "serving", "stopping", "installing"} {
		if len(Banner(w)) != 5 {
			t.Errorf("Banner(%q) lacks a letter", w)
		}
	}
	if got := Banner("quartz"); len(got) != 1 || got[0] != "QUARTZ" {
		t.Errorf("Banner of an unknown word = %q", got)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1500: "1.5 kB", 480e9: "480 GB", 4e12: "4.0 TB", 5e15: "5000 TB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q; want %q", n, got, want)
		}
	}
}

func TestPaths(t *testing.T) {
	sys, dev := t.TempDir(), t.TempDir()
	for _, n := range []string{"tty1", "ttyS0"} {
		if err := os.WriteFile(filepath.Join(dev, n), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(sys, "class/tty/console"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sys, "class/tty/console/active"), []byte("tty0 ttyS0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dev, "tty1"), filepath.Join(dev, "ttyS0")}
	if d := cmp.Diff(want, paths(sys, dev)); d != "" {
		t.Error(d)
	}
}
