package hwcheck

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func machine() Inventory {
	return Inventory{
		Server: "left", Product: "ACME Box", Serial: "1", UUID: "u", Firmware: "1.0", Memory: 16 << 30,
		CPU: CPU{Model: "X", Cores: 4, Threads: 8, Flags: []string{"aes", "avx2", "sse4_2"}},
		Disks: []Disk{
			{Dev: "/dev/sda", Path: "p0", Serial: "SYS", Size: 64 << 30, Sector: 512},
			{Dev: "/dev/sdb", Path: "p1", Bay: 1, Serial: "A", Size: 1 << 40, Sector: 512},
			{Dev: "/dev/sdc", Path: "p2", Bay: 2, Serial: "B", Size: 1 << 40, Sector: 512},
		},
		NICs: []NIC{{Name: "eth0", MAC: "m0", Driver: "e1000e", Link: true, Speed: 1000}, {Name: "eth1", MAC: "m1", Speed: 1000}},
	}
}

func ids(f []Finding) []string {
	var s []string
	for _, x := range f {
		s = append(s, x.Severity+" "+x.ID)
	}
	return s
}

func TestCompare(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Inventory)
		want   []string
	}{
		{"same", func(*Inventory) {}, nil},
		{"a little less memory", func(i *Inventory) { i.Memory -= 100 << 20 }, nil},
		{"less memory", func(i *Inventory) { i.Memory = 12 << 30 }, []string{"warning compare-memory"}},
		{"far less memory", func(i *Inventory) { i.Memory = 4 << 30 }, []string{"critical compare-memory"}},
		{"fewer threads", func(i *Inventory) { i.CPU.Threads = 4 }, []string{"warning compare-cpu-threads"}},
		{"no avx2", func(i *Inventory) { i.CPU.Flags = []string{"aes", "sse4_2"} }, []string{"warning compare-cpu-flags"}},
		{"one NIC", func(i *Inventory) { i.NICs = i.NICs[:1] }, []string{"warning compare-nics"}},
		{"no NIC", func(i *Inventory) { i.NICs = nil }, []string{"critical compare-nics"}},
		{"slow NIC", func(i *Inventory) { i.NICs = []NIC{{Speed: 100}, {Speed: 100}} }, []string{"warning compare-nic-speed"}},
		{"disk missing", func(i *Inventory) { i.Disks = i.Disks[:2] }, []string{"warning compare-disk-count"}},
		{"smaller disk", func(i *Inventory) { i.Disks = slices.Clone(i.Disks); i.Disks[2].Size = 1 << 39 }, []string{"warning compare-disk-size"}},
		{"sectors", func(i *Inventory) { i.Disks = slices.Clone(i.Disks); i.Disks[2].Sector = 4096 }, []string{"warning compare-sector-size"}},
		{"no driver", func(i *Inventory) {
			i.NoDriver = []PCIDevice{{Address: "0000:06:00.0", Modalias: "pci:v1d2bc01sc07i00"}}
		}, []string{"warning no-driver-0000:06:00.0"}},
		{"other model", func(i *Inventory) { i.Product = "Other" }, []string{"info compare-product"}},
		{"other firmware", func(i *Inventory) { i.Firmware = "2" }, []string{"info compare-firmware"}},
		{"worst first", func(i *Inventory) { i.Product, i.NICs = "Other", nil }, []string{"critical compare-nics", "info compare-product"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			other := machine()
			other.Server = "right"
			tt.change(&other)
			if diff := cmp.Diff(tt.want, ids(Compare(machine(), other))); diff != "" {
				t.Errorf("Compare (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, ids(Compare(other, machine()))); diff != "" {
				t.Errorf("Compare, the other way round (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBaseline(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Inventory)
		want   []string
	}{
		{"same", func(*Inventory) {}, nil},
		{"sets may move", func(i *Inventory) { i.Disks = i.Disks[:1] }, nil},
		{"memory module lost", func(i *Inventory) { i.Memory /= 2 }, []string{"warning baseline-memory"}},
		{"memory added", func(i *Inventory) { i.Memory *= 2 }, []string{"info baseline-memory"}},
		{"NIC exchanged", func(i *Inventory) { i.NICs = []NIC{i.NICs[0], {Name: "eth1", MAC: "m9"}} }, []string{"warning baseline-nic-m1", "info baseline-nic-m9"}},
		{"NIC slower", func(i *Inventory) { i.NICs = slices.Clone(i.NICs); i.NICs[0].Speed = 100 }, []string{"warning baseline-nic-speed-m0"}},
		{"built-in disk gone", func(i *Inventory) { i.Disks = i.Disks[1:] }, []string{"warning baseline-disk-p0"}},
		{"another machine", func(i *Inventory) { i.Serial = "2" }, []string{"warning baseline-machine"}},
		{"firmware", func(i *Inventory) { i.Firmware = "2" }, []string{"info baseline-firmware"}},
		{"driver lost", func(i *Inventory) { i.NoDriver = []PCIDevice{{Address: "a"}} }, []string{"info baseline-no-driver-a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := machine()
			tt.change(&now)
			if diff := cmp.Diff(tt.want, ids(Baseline(machine(), now))); diff != "" {
				t.Errorf("Baseline (-want +got):\n%s", diff)
			}
		})
	}
}
