package installer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sayasystems.com/atlas/image/install"
	"sayasystems.com/atlas/image/install/systemdisk"
)

// choose reads one disk: its number in the list or its serial.
func choose(d *draft, s string) (install.Disk, error) {
	if n, err := strconv.Atoi(s); err == nil && n >= 1 && n <= len(d.hw.disks) {
		return usable(d.hw.disks[n-1])
	}
	for _, k := range d.hw.disks {
		if k.Serial != "" && strings.EqualFold(k.Serial, s) {
			return usable(k)
		}
	}
	return install.Disk{}, fmt.Errorf("%q is neither a number in the list nor a serial", s)
}

func usable(k install.Disk) (install.Disk, error) {
	switch {
	case k.Stick:
		return k, fmt.Errorf("%s is the medium that this installer runs from", k.Name())
	case k.Removable:
		return k, fmt.Errorf("%s is a removable medium", k.Name())
	case k.Serial == "" && k.Bay == 0:
		return k, fmt.Errorf("%s tells no serial and has no bay, so it could not be found again", k.Name())
	}
	return k, nil
}

// choice names a disk as install.yaml does.
func choice(k install.Disk) install.DiskChoice {
	return install.DiskChoice{Serial: k.Serial, Bay: k.Bay}
}

// numberOf is the number in the list of the disk that c names, 0 if it is gone.
func numberOf(d *draft, c install.DiskChoice) int {
	if c == (install.DiskChoice{}) {
		return 0
	}
	k, err := install.Pick(d.hw.disks, c)
	if err != nil {
		return 0
	}
	return 1 + slices.IndexFunc(d.hw.disks, func(o install.Disk) bool { return o.Dev == k.Dev })
}

// defSystem proposes a disk that is large enough and not in a bay, an empty one first.
func defSystem(d *draft) string {
	if n := numberOf(d, d.a.SystemDisk); n > 0 {
		return strconv.Itoa(n)
	}
	best := 0
	for i, k := range d.hw.disks {
		if _, err := usable(k); err != nil || k.Bay > 0 || k.Size < systemdisk.MinSize {
			continue
		}
		if k.Holds() == "" {
			return strconv.Itoa(i + 1)
		}
		if best == 0 {
			best = i + 1
		}
	}
	if best == 0 {
		return ""
	}
	return strconv.Itoa(best)
}

func takeSystem(d *draft, s string) error {
	k, err := choose(d, s)
	if err != nil {
		return err
	}
	if k.Size < systemdisk.MinSize {
		return fmt.Errorf("%s is too small; a system disk needs %s", k.Name(), install.FormatSize(systemdisk.MinSize))
	}
	d.a.SystemDisk = choice(k)
	return nil
}

// defMembers proposes all disks in bays.
func defMembers(d *draft) string {
	var nums []string
	if len(d.a.Set.Disks) > 0 {
		for _, c := range d.a.Set.Disks {
			if n := numberOf(d, c); n > 0 {
				nums = append(nums, strconv.Itoa(n))
			}
		}
		return strings.Join(nums, " ")
	}
	if d.given["set.disks"] {
		return "none"
	}
	sys := numberOf(d, d.a.SystemDisk)
	for i, k := range d.hw.disks {
		if _, err := usable(k); err == nil && k.Bay > 0 && i+1 != sys {
			nums = append(nums, strconv.Itoa(i+1))
		}
	}
	if len(nums) < 2 {
		return ""
	}
	return strings.Join(nums, " ")
}

func takeMembers(d *draft, s string) error {
	if strings.EqualFold(s, "none") {
		d.a.Set = install.SetChoice{}
		return nil
	}
	var out []install.DiskChoice
	var seen []string
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' }) {
		k, err := choose(d, w)
		switch {
		case err != nil:
			return err
		case slices.Contains(seen, k.Dev):
			return fmt.Errorf("%s is chosen twice", k.Name())
		case !d.namespace && k.Dev == deviceOf(d, d.a.SystemDisk):
			return fmt.Errorf("%s is the system disk already", k.Name())
		}
		seen = append(seen, k.Dev)
		out = append(out, choice(k))
	}
	if len(out) < 2 {
		return errors.New("a set needs at least two disks; if one fails, the other goes on")
	}
	d.a.Set.Disks = out
	return nil
}

func deviceOf(d *draft, c install.DiskChoice) string {
	if n := numberOf(d, c); n > 0 {
		return d.hw.disks[n-1].Dev
	}
	return ""
}
