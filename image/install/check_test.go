package install

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

const gb = 1_000_000_000

func blank(dev string, bay int, serial string, size uint64) Disk {
	return Disk{Disk: roles.Disk{Dev: dev, Bay: bay, Serial: serial, Size: size, Blank: true}, Sector: 512}
}

func testDisks() []Disk {
	return []Disk{
		blank("/dev/vda", 0, "SYS", 8*gb),
		blank("/dev/vdb", 1, "L1", 4*gb),
		blank("/dev/vdc", 2, "L2", 4*gb),
		blank("/dev/vdd", 3, "L3", 4*gb),
	}
}

func testAnswers() Answers {
	return Answers{
		Server:     "left",
		SystemDisk: DiskChoice{Serial: "SYS"},
		Set:        SetChoice{Level: roles.RAID1, Role: roles.Primary, Disks: []DiskChoice{{Serial: "L1"}, {Bay: 2}}},
		New:        &NewSite{Name: "Miller", Hostname: "office", Service: siteconf.Service{Address: "10.7.0.10/24"}},
		Management: siteconf.Management{Address: "10.7.0.11/24"},
		Password:   "correct horse",
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(a *Answers, d []Disk) []Disk
		want   []string // prefixes of the problems
		warn   []string // parts of the warnings
	}{
		{name: "fits", change: func(_ *Answers, d []Disk) []Disk { return d }},
		{
			name:   "no such serial",
			change: func(a *Answers, d []Disk) []Disk { a.SystemDisk.Serial = "X"; return d },
			want:   []string{`system_disk: no disk with serial "X"; in this server are: /dev/vda (serial SYS, 8.0 GB); /dev/vdb (bay 1, serial L1, 4.0 GB)`},
		},
		{
			name:   "no system disk",
			change: func(a *Answers, d []Disk) []Disk { a.SystemDisk = DiskChoice{}; return d },
			want:   []string{"system_disk: is missing"},
		},
		{
			name:   "bay empty",
			change: func(a *Answers, d []Disk) []Disk { a.Set.Disks[1] = DiskChoice{Bay: 7}; return d },
			want:   []string{"set.disks[1]: bay 7 is empty", "set.level: "}[:1],
		},
		{
			name:   "another disk in the bay",
			change: func(a *Answers, d []Disk) []Disk { a.Set.Disks[1] = DiskChoice{Bay: 2, Serial: "L1"}; return d },
			want:   []string{`set.disks[1]: bay 2 holds the disk with serial "L2", not "L1"`},
		},
		{
			name:   "twice by bay and serial",
			change: func(a *Answers, d []Disk) []Disk { a.Set.Disks[1] = DiskChoice{Bay: 1}; return d },
			want:   []string{"set.disks[1]: /dev/vdb (bay 1, serial L1, 4.0 GB) is chosen twice, here and as set.disks[0]"},
		},
		{
			name:   "system disk in the set",
			change: func(a *Answers, d []Disk) []Disk { a.Set.Disks[1] = DiskChoice{Serial: "SYS"}; return d },
			want:   []string{"set.disks[1]: /dev/vda (serial SYS, 8.0 GB) is chosen twice, here and as system_disk"},
		},
		{
			name:   "serial of two disks",
			change: func(_ *Answers, d []Disk) []Disk { d[3].Serial = "L1"; return d },
			want:   []string{"set.disks[0]: fits 2 disks; name it by bay and serial"},
		},
		{
			name:   "small",
			change: func(_ *Answers, d []Disk) []Disk { d[0].Size, d[1].Size = gb, gb/10; return d },
			want:   []string{"system_disk: /dev/vda (serial SYS, 1.0 GB) is too small; a system disk needs 2.8 GB", "set.disks[0]: /dev/vdb (bay 1, serial L1, 100.0 MB) is too small"},
			warn:   []string{"unequal size"},
		},
		{
			name:   "the stick",
			change: func(_ *Answers, d []Disk) []Disk { d[0].Stick = true; d[1].Removable = true; return d },
			want:   []string{"system_disk: /dev/vda (serial SYS, 8.0 GB) is the medium that this installer runs from", "set.disks[0]: /dev/vdb (bay 1, serial L1, 4.0 GB) is a removable medium"},
		},
		{
			name: "not empty",
			change: func(_ *Answers, d []Disk) []Disk {
				d[0].Blank, d[0].Content = false, "ext4 filesystem"
				d[1].Blank, d[1].Label = false, &roles.Label{Role: roles.Primary, SiteName: "Smith"}
				d[2].Blank, d[2].LabelErr = false, "torn"
				return d
			},
			want: []string{
				"system_disk: /dev/vda (serial SYS, 8.0 GB) holds ext4 filesystem; to lose that",
				"set.disks[0]: /dev/vdb (bay 1, serial L1, 4.0 GB) holds a member of the primary disk set of site Smith; to lose",
				"set.disks[1]: /dev/vdc (bay 2, serial L2, 4.0 GB) holds a member of a disk set whose label cannot be read (torn)",
			},
		},
		{
			name: "unfinished",
			change: func(_ *Answers, d []Disk) []Disk {
				d[0].Blank, d[0].Unfinished = false, true
				return d
			},
			want: []string{"system_disk: /dev/vda (serial SYS, 8.0 GB) holds an unfinished ATLAS installation; to lose"},
		},
		{
			name: "not empty, confirmed",
			change: func(a *Answers, d []Disk) []Disk {
				d[0].Blank, d[0].Unfinished = false, true
				d[1].Blank, d[1].Content = false, "ext4 filesystem"
				a.SystemDisk.Erase, a.Set.Disks[0].Erase = true, true
				return d
			},
		},
		{
			name: "odd but possible",
			change: func(a *Answers, d []Disk) []Disk {
				d[1].Size, d[2].Sector, d[2].Bus, d[1].Bay, d[0].Bay = 5*gb, 4096, "usb", 0, 9
				a.Set.Role = roles.Secondary
				a.New.Service.Address = "192.168.1.10/24"
				return d
			},
			warn: []string{"in a swappable bay", "not in a swappable bay", "attached by USB", "unequal size: of each only 4.0 GB", "sectors of different size", "begins with a secondary set", "different networks"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := testAnswers()
			p, err := Check(a, nil, Limits{})
			if err == nil {
				t.Fatal("accepted without disks")
			}
			a = testAnswers()
			disks := tc.change(&a, testDisks())
			p, err = Check(a, disks, Limits{})
			var ps Problems
			if err != nil && !errors.As(err, &ps) {
				t.Fatalf("Check = %v; want Problems", err)
			}
			if len(ps) != len(tc.want) {
				t.Fatalf("problems:\n%v\nwant %d", err, len(tc.want))
			}
			for i, w := range tc.want {
				if got := ps[i].Key + ": " + ps[i].Text; !strings.HasPrefix(got, w) {
					t.Errorf("problem %d = %q; want prefix %q", i, got, w)
				}
			}
			if len(p.Warnings) != len(tc.warn) {
				t.Fatalf("warnings %q; want %d", p.Warnings, len(tc.warn))
			}
			for i, w := range tc.warn {
				if !strings.Contains(p.Warnings[i], w) {
					t.Errorf("warning %d = %q; want %q in it", i, p.Warnings[i], w)
				}
			}
		})
	}
}

func TestLocate(t *testing.T) {
	_, f, err := LoadFile("testdata/good-new.yaml")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := LoadAnswers("testdata/good-new.yaml")
	_, err = Check(a, testDisks(), Limits{})
	got := strings.Split(Locate(f, err).Error(), "\n")
	want := []string{"testdata/good-new.yaml:3: system_disk: no disk with", "testdata/good-new.yaml:8: set.disks[0]: bay 1 holds", "testdata/good-new.yaml:9: set.disks[1]: bay 2 holds"}
	for i := range got {
		got[i] = got[i][:min(len(got[i]), len(want[min(i, 2)]))]
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Locate (-want +got):\n%s", d)
	}
}

func TestLevels(t *testing.T) {
	for n, want := range map[int][]roles.Level{
		1: {}, 2: {roles.RAID1}, 3: {roles.RAID1, roles.RAID5}, 4: {roles.RAID1, roles.RAID5, roles.RAID10}, 5: {roles.RAID1, roles.RAID5},
	} {
		if d := cmp.Diff(want, Levels(n)); d != "" {
			t.Errorf("Levels(%d) (-want +got):\n%s", n, d)
		}
	}
}
