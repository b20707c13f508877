package installer

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/install"
	"sayasystems.com/atlas/image/install/systemdisk"
	"sayasystems.com/atlas/roles"
)

var update = flag.Bool("update", false, "write the golden files anew")

const gb = 1_000_000_000

func testHardware() hardware {
	inv := hwcheck.Inventory{
		Product: "Example R1", Serial: "CH-1", Memory: 8 << 30, CPU: hwcheck.CPU{Model: "Example CPU 3000", Cores: 4},
		NICs: []hwcheck.NIC{
			{Name: "eth0", Driver: "e1000e", MAC: "52:54:00:00:00:01", Link: true, Speed: 1000},
			{Name: "eth1", Driver: "e1000e", MAC: "52:54:00:00:00:02"},
		},
		NoDriver: []hwcheck.PCIDevice{{Address: "0000:03:00.0", Vendor: "Example", Product: "Radio"}},
		Disks: []hwcheck.Disk{
			{Dev: "/dev/sda", Removable: true, Bus: "usb"},
			{Dev: "/dev/nvme0n1", Bus: "nvme", Sector: 512},
			{Dev: "/dev/sdb", Bus: "sata", Sector: 512},
			{Dev: "/dev/sdc", Bus: "sata", Sector: 512},
		},
	}
	disks := []roles.Disk{
		{Dev: "/dev/sda", Serial: "STICK", Model: "Flash", Size: 16 * gb, Content: "GPT with 2 partitions"},
		{Dev: "/dev/nvme0n1", Serial: "SYS-1", Model: "Example SSD 980", Size: 250 * gb, Blank: true},
		{Dev: "/dev/sdb", Bay: 1, Serial: "L1", Model: "Example HDD", Size: 4000 * gb, Content: "GPT with 3 partitions, ext4 filesystem"},
		{Dev: "/dev/sdc", Bay: 2, Serial: "L2", Model: "Example HDD", Size: 4000 * gb, Blank: true},
	}
	return hardware{inv: inv, disks: gather(disks, inv, "/dev/sda1", func(string) (systemdisk.Mark, bool) { return systemdisk.Mark{}, false })}
}

func find(context.Context) (hardware, error) { return testHardware(), nil }

// bench is a session with a scripted console and a stick in a directory.
type bench struct {
	session
	out       *bytes.Buffer
	installed []install.Answers
	powered   []string
	failures  int // installations that fail before one succeeds
}

func newBench(t *testing.T, script string) *bench {
	b := &bench{out: &bytes.Buffer{}}
	b.session = session{
		version: "1.2", stickDir: t.TempDir(), find: find,
		consoles: []*console{newConsole("ttyS0", strings.NewReader(script), b.out)},
		checkCode: func(s string) error {
			if s != "GOOD1-GOOD2" {
				return errors.New("group 2 of 2 is mistyped")
			}
			return nil
		},
		install: func(_ context.Context, a install.Answers, p func(install.Progress)) (install.Summary, error) {
			b.installed = append(b.installed, a)
			p(install.Progress{Step: 1, Of: 2, Phase: "check", Text: "looking"})
			if len(b.installed) <= b.failures {
				return install.Summary{}, fmt.Errorf("install: system disk: write /dev/nvme0n1: input/output error")
			}
			for i := range int64(101) {
				p(install.Progress{Step: 2, Of: 2, Phase: "system disk", Text: "copying", Done: i, Total: 100})
			}
			return install.Summary{Server: a.Server, Did: []string{"system disk: written"}, Warnings: []string{"mind the gap"}, Management: "10.7.0.11", JoinCode: "AAAAA-BBBBB"}, nil
		},
		power: func(_ context.Context, action string) error { b.powered = append(b.powered, action); return nil },
	}
	return b
}

// TestWizard plays testdata/*.script: what is typed, one answer a line. The transcript and the answers that come out are golden.
func TestWizard(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.script")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts (%v)", err)
	}
	for _, file := range scripts {
		name := strings.TrimSuffix(filepath.Base(file), ".script")
		t.Run(name, func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b := newBench(t, string(script))
			if strings.Contains(name, "stick") {
				join := "site: x\nname: Miller\naddress: 10.7.0.11\ncode: GOOD1-GOOD2\n"
				if err := os.WriteFile(filepath.Join(b.stickDir, "join.yaml"), []byte(join), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if strings.Contains(name, "retry") {
				b.failures = 1
			}
			err = b.run(t.Context())
			got := b.out.String() + "\n=== end: " + fmt.Sprint(err) + "\n=== power: " + fmt.Sprint(b.powered) + "\n"
			for _, a := range b.installed {
				got += fmt.Sprintf("=== installed: %+v\n", plain(a))
			}
			compare(t, filepath.Join("testdata", name+".golden"), got)
			for line := range strings.Lines(b.out.String()) {
				if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
					t.Errorf("line of %d columns: %q", n, line)
				}
			}
			if strings.Contains(b.out.String(), "horse") {
				t.Error("the password is shown")
			}
		})
	}
}

// plain writes answers without pointers.
func plain(a install.Answers) string {
	s := fmt.Sprintf("%+v", a)
	if a.New != nil {
		s += fmt.Sprintf(" new=%+v", *a.New)
	}
	if a.Join != nil {
		s += fmt.Sprintf(" join=%+v", *a.Join)
	}
	var out []string
	for w := range strings.FieldsSeq(s) {
		if !strings.Contains(w, ":0x") {
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}

func compare(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", golden, d)
	}
}

const goodYAML = `server: left
system_disk: {serial: SYS-1}
set: {level: raid1, role: primary, disks: [{bay: 1}, {bay: 2}]}
new_site: {name: Miller, hostname: office, service: {address: 10.7.0.10/24}}
management: {address: 10.7.0.11/24}
password: correct horse
`

func TestUnattended(t *testing.T) {
	for _, tc := range []struct {
		name, yaml, script string
		failures           int
		power              string
		installs           int
		shows              []string
		err                string
	}{
		{name: "reboots", yaml: goodYAML, power: "[reboot]", installs: 1, shows: []string{"unattended installation", "[ 2/2] system disk: copying 50 %", "AAAAA-BBBBB"}},
		{name: "off", yaml: goodYAML + "then: \"off\"\n", power: "[off]", installs: 1},
		{name: "bad answers, nobody there", yaml: "server: LEFT\n" + goodYAML[13:], power: "[]", shows: []string{"install.yaml:1: server: must be", "Nothing was written"}, err: "install.yaml:1: server"},
		{name: "fails once", yaml: goodYAML, script: "\n", failures: 1, power: "[reboot]", installs: 2, shows: []string{"input/output error", "starts over from the beginning"}},
		{name: "fails, off", yaml: goodYAML, script: "off\n", failures: 9, power: "[off]", installs: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, tc.script)
			b.failures = tc.failures
			path := filepath.Join(b.stickDir, "install.yaml")
			if err := os.WriteFile(path, []byte(tc.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			err := b.run(t.Context())
			if (tc.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("run = %v; want %q", err, tc.err)
			}
			if got := fmt.Sprint(b.powered); got != tc.power || len(b.installed) != tc.installs {
				t.Errorf("power %s after %d installations; want %s after %d", got, len(b.installed), tc.power, tc.installs)
			}
			for _, s := range tc.shows {
				if !strings.Contains(strings.Join(strings.Fields(b.out.String()), " "), s) {
					t.Errorf("screen lacks %q:\n%s", s, b.out)
				}
			}
			done, rerr := os.ReadFile(filepath.Join(b.stickDir, "installed-left.yaml"))
			_, serr := os.Stat(path)
			switch installed := tc.power == "[reboot]" || tc.name == "off"; {
			case installed && (rerr != nil || serr == nil):
				t.Errorf("install.yaml was not retired: %v, %v", rerr, serr)
			case installed && strings.Contains(string(done), "horse"):
				t.Error("the password is still on the stick")
			case !installed && serr != nil:
				t.Errorf("install.yaml is gone: %v", serr)
			}
		})
	}
}

func TestGather(t *testing.T) {
	disks := []roles.Disk{
		{Dev: "/dev/sda"}, {Dev: "/dev/sdb", Label: &roles.Label{Site: "s1"}}, {Dev: "/dev/sdc", Label: &roles.Label{Site: "s2"}}, {Dev: "/dev/sdaa"},
	}
	got := gather(disks, hwcheck.Inventory{}, "/dev/sda1", func(dev string) (systemdisk.Mark, bool) {
		return systemdisk.Mark{Site: "s1"}, dev == "/dev/sdaa"
	})
	var s []string
	for _, d := range got {
		s = append(s, fmt.Sprint(d.Dev, d.Stick, d.Unfinished))
	}
	want := []string{"/dev/sdatrue false", "/dev/sdbfalse true", "/dev/sdcfalse false", "/dev/sdaafalse true"}
	if d := cmp.Diff(want, s); d != "" {
		t.Errorf("gather (-want +got):\n%s", d)
	}
}

func TestOnDisk(t *testing.T) {
	for _, tc := range []struct {
		part, dev string
		want      bool
	}{
		{"/dev/sda1", "/dev/sda", true},
		{"/dev/sda", "/dev/sda", true},
		{"/dev/sdaa1", "/dev/sda", false},
		{"/dev/nvme0n1p2", "/dev/nvme0n1", true},
		{"/dev/nvme0n10p2", "/dev/nvme0n1", false},
		{"", "/dev/sda", false},
		{"/dev/sda1", "", false},
	} {
		if got := onDisk(tc.part, tc.dev); got != tc.want {
			t.Errorf("onDisk(%q, %q) = %v; want %v", tc.part, tc.dev, got, tc.want)
		}
	}
}

func TestConsoleLine(t *testing.T) {
	long := strings.Repeat("x", 3*maxLine)
	c := newConsole("t", strings.NewReader("a\r\nbx\by\x7f\n\x1b[Ax\n"+long+"\nlast"), &bytes.Buffer{})
	var got []string
	for {
		s, err := c.line()
		if err != nil {
			break
		}
		got = append(got, s)
	}
	if len(got) != 5 || got[0] != "a" || got[1] != "b" || len(got[3]) > 2*maxLine || got[4] != "last" {
		t.Errorf("lines = %.40q", got)
	}
}

func TestRace(t *testing.T) {
	block, done := make(chan struct{}), make(chan struct{})
	defer close(done)
	var o1, o2 bytes.Buffer
	slow := newConsole("tty1", reader(func([]byte) (int, error) { close(block); <-done; return 0, errors.New("gone") }), &o1)
	quick := newConsole("ttyS0", reader(func(p []byte) (int, error) { <-block; return copy(p, "hello\n"), nil }), &o2)
	c, s, err := race(t.Context(), []*console{slow, quick}, "?")
	if err != nil || c != quick || s != "hello" {
		t.Errorf("race = %v, %q, %v; want the quick one", c, s, err)
	}
	if !strings.Contains(o1.String(), "other console (ttyS0)") {
		t.Errorf("the slow console shows %q", o1.String())
	}
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }
