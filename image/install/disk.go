package install

import (
	"fmt"
	"strings"

	"sayasystems.com/atlas/roles"
)

// Disk is one disk of the server as the installer sees it: what roles knows of it, and what else decides whether it may be used.
type Disk struct {
	roles.Disk
	Bus        string // "nvme", "sata", "usb"…; "" = unknown
	Sector     int    // logical sector size; 0 = unknown
	Removable  bool   // a CD drive or a stick
	Stick      bool   // the medium that the installer runs from
	Unfinished bool   // an installation was begun on it and not ended
}

// Name is how people find the disk: bay where it has one, serial, device.
func (d Disk) Name() string {
	var parts []string
	if d.Bay > 0 {
		parts = append(parts, fmt.Sprintf("bay %d", d.Bay))
	}
	if d.Serial != "" {
		parts = append(parts, "serial "+d.Serial)
	}
	return fmt.Sprintf("%s (%s)", d.Dev, strings.Join(append(parts, FormatSize(d.Size)), ", "))
}

// Holds says in words what is on the disk: "" when nothing is.
func (d Disk) Holds() string {
	switch {
	case d.Unfinished:
		return "an unfinished ATLAS installation"
	case d.Label != nil:
		return fmt.Sprintf("a member of the %s disk set of site %s", d.Label.Role, d.Label.SiteName)
	case d.LabelErr != "":
		return "a member of a disk set whose label cannot be read (" + d.LabelErr + ")"
	case d.Blank:
		return ""
	case d.Content != "":
		return d.Content
	}
	return "something unknown"
}

// FormatSize writes bytes as disks are sold: "4.0 TB".
func FormatSize(n uint64) string {
	f, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if f < 1000 {
			break
		}
		f, unit = f/1000, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// Pick finds the disk that c names among disks.
func Pick(disks []Disk, c DiskChoice) (Disk, error) {
	var found []Disk
	for _, d := range disks {
		if (c.Serial == "" || d.Serial == c.Serial) && (c.Bay == 0 || d.Bay == c.Bay) {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Disk{}, fmt.Errorf("fits %d disks; name it by bay and serial", len(found))
	case c.Serial != "" && c.Bay != 0:
		for _, d := range disks {
			if d.Bay == c.Bay {
				return Disk{}, fmt.Errorf("bay %d holds the disk with serial %q, not %q", c.Bay, d.Serial, c.Serial)
			}
		}
		return Disk{}, fmt.Errorf("bay %d is empty; in this server are: %s", c.Bay, names(disks))
	case c.Serial != "":
		return Disk{}, fmt.Errorf("no disk with serial %q; in this server are: %s", c.Serial, names(disks))
	}
	return Disk{}, fmt.Errorf("bay %d is empty; in this server are: %s", c.Bay, names(disks))
}

func names(disks []Disk) string {
	if len(disks) == 0 {
		return "no disks at all"
	}
	out := make([]string, len(disks))
	for i, d := range disks {
		out[i] = d.Name()
	}
	return strings.Join(out, "; ")
}
