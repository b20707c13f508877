package vm

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/build/lab/folder"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestArguments(t *testing.T) {
	left := folder.Server{Name: "left", Address: "10.7.0.11", MAC: "52:54:00:01:02:03", UUID: "00000000-0000-4000-8000-000000000001", Serial: "LAB-LEFT"}
	disks := map[int]folder.Disk{1: {Serial: "LAB-L1"}, 2: {Serial: "LAB-L2"}}
	tests := []struct {
		name string
		m    machine
	}{
		{"boot", machine{Server: left, MemoryMiB: 1024, CPUs: 1, Disks: disks}},
		{"stick", machine{Server: left, MemoryMiB: 1024, CPUs: 1, Disks: disks, From: Stick, Stick: "/mnt/stick.img"}},
		{"cd-kvm", machine{Server: left, MemoryMiB: 2048, CPUs: 2, KVM: true, From: CD, Stick: "/mnt/stick.img"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// An option and its value on one line, for people.
			var b strings.Builder
			for _, a := range qemuArgs(tt.m) {
				if strings.HasPrefix(a, "-") && b.Len() > 0 {
					b.WriteString("\n")
				} else if b.Len() > 0 {
					b.WriteString(" ")
				}
				b.WriteString(a)
			}
			got := b.String() + "\n"
			golden := filepath.Join("testdata", tt.name+".args")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("QEMU's arguments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNBDKitFilterOrder(t *testing.T) {
	line := strings.Join(nbdkitArgs("/mnt/d.img", "/mnt/s", "/mnt/t"), " ")
	// The first filter is nearest to QEMU: an error must not be hidden by a cached block.
	if e, c := strings.Index(line, "--filter=error"), strings.Index(line, "--filter=cache"); e < 0 || c < e {
		t.Errorf("filters in %q; want error before cache", line)
	}
}

func TestSystemSerial(t *testing.T) {
	if got := SystemSerial("middle"); got != "LAB-MSYS" {
		t.Errorf("SystemSerial(middle) = %q; want LAB-MSYS", got)
	}
}
