package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"

	"sayasystems.com/atlas/build/toolsroot"
	"sayasystems.com/atlas/image/gpt"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/slots"
	"sayasystems.com/atlas/image/uki"
)

// TestBadSlot forces updates that cannot work into slot b. systemd-boot counts their tries down, and the good slot boots.
func TestBadSlot(t *testing.T) {
	s := use(t, "vm")
	s.healthy(t, "left", "right")
	eventually(t, "the slot that runs is marked good", 3*time.Minute, func() error {
		var st siteState
		if err := s.api(t, "10.7.0.11", &st); err != nil {
			return err
		}
		for _, sv := range st.Servers {
			if sv.Name == "left" && !sv.State.SlotGood {
				return errNotYet
			}
		}
		return nil
	})
	cases := []struct{ name, program string }{
		{"the kernel panics: nothing to start", ""},
		{"init exits", "package main\n\nfunc main() {}\n"},
	}
	if os.Getenv("ATLAS_LONG") == "" { // a sample: one of them, by the seed
		seed, _ := strconv.ParseUint(cmpOr(os.Getenv("ATLAS_SEED"), "1"), 10, 64)
		cases = cases[seed%2:][:1]
	}
	for _, bad := range cases {
		t.Run(bad.name, func(t *testing.T) {
			s.off(t, "left")
			e := s.openESP(t, "left")
			good := e.names(t)
			if len(good) != 1 || strings.Contains(good[0], "+") {
				t.Fatalf("ESP of left has %q before the update; want one blessed image", good)
			}
			name := layout.UKIName("99.0.0", "b", slots.Tries)
			e.put(t, name, badUKI(t, e.get(t, good[0]), bad.program))
			began := time.Now()
			s.on(t, "left")
			s.wait(t, "left", "primary")
			s.wait(t, "left", "ready")
			t.Logf("bad slot tried and left behind after %.0f s", time.Since(began).Seconds())
			if boot := s.exec(t, "left", "atlas", "boot"); strings.Contains(boot, "99.0.0") {
				t.Errorf("left runs the bad slot:\n%s", boot)
			}
			s.off(t, "left")
			want := fmt.Sprintf("atlas-99.0.0-b+0-%d.efi", slots.Tries)
			if got := strings.Join(e.names(t), " "); !strings.Contains(got, want) {
				t.Errorf("ESP of left has %s after the fall-back; want %s among them", got, want)
			}
			e.remove(t, want)
			s.on(t, "left")
			s.healthy(t, "left", "right")
		})
	}
}

// badUKI is a unified kernel image with the good one's kernel and an initramfs that holds only program as its init.
func badUKI(t *testing.T, good []byte, program string) []byte {
	t.Helper()
	tools, err := toolsroot.Ensure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stub, err := os.ReadFile(tools.File(toolsroot.Stub))
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := uki.Section(good, ".linux")
	if err != nil {
		t.Fatal(err)
	}
	archive := &bytes.Buffer{}
	w := cpio.Newc.Writer(archive)
	records := []cpio.Record{cpio.Directory("root", 0o755)}
	if program != "" {
		dir := t.TempDir()
		source := filepath.Join(dir, "main.go")
		if err := os.WriteFile(source, []byte(program), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "init"), source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("compile the bad init: %v\n%s", err, out)
		}
		binary, err := os.ReadFile(filepath.Join(dir, "init"))
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, cpio.StaticFile("init", string(binary), 0o755))
	}
	if err := cpio.WriteRecordsAndDirs(w, records); err != nil {
		t.Fatal(err)
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	image, err := uki.Build(uki.Parts{
		Stub: stub, Linux: kernel, Initrd: archive.Bytes(), OSRel: uki.OSRelease("ATLAS", "99.0.0"), Uname: "bad",
		Cmdline: "atlas.slot=b atlas.version=99.0.0 console=ttyS0,115200 panic=1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// espOf reads and writes files on the ESP of a server that is off, as its disk lies in the lab's folder.
type espOf struct {
	tools toolsroot.Root
	at    string // mtools' FILE@@OFFSET
}

func (s *site) openESP(t *testing.T, server string) espOf {
	t.Helper()
	disk := filepath.Join(s.dir, "servers", server, "system.img")
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parts, err := gpt.Read(f, 0, 512)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := gpt.Find(parts, layout.ESP)
	if !ok {
		t.Fatalf("%s has no partition %s", disk, layout.ESP)
	}
	tools, err := toolsroot.Ensure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return espOf{tools: tools, at: fmt.Sprintf("%s@@%d", disk, p.Start)}
}

func (e espOf) run(t *testing.T, stdin []byte, program string, args ...string) []byte {
	t.Helper()
	cmd := e.tools.Command(t.Context(), program, append([]string{"-i", e.at}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, errs.String())
	}
	return out.Bytes()
}

func (e espOf) names(t *testing.T) []string {
	t.Helper()
	var names []string
	for line := range strings.FieldsSeq(string(e.run(t, nil, "mdir", "-b", "::/"+layout.UKIDir))) {
		names = append(names, filepath.Base(line))
	}
	return names
}

func (e espOf) get(t *testing.T, name string) []byte {
	t.Helper()
	return e.run(t, nil, "mcopy", "::/"+layout.UKIDir+"/"+name, "-")
}

func (e espOf) put(t *testing.T, name string, data []byte) {
	t.Helper()
	e.run(t, data, "mcopy", "-o", "-", "::/"+layout.UKIDir+"/"+name)
}

func (e espOf) remove(t *testing.T, name string) {
	t.Helper()
	e.run(t, nil, "mdel", "::/"+layout.UKIDir+"/"+name)
}
