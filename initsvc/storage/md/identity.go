package md

import (
	"fmt"
	"path/filepath"
	"strings"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/roles"
)

// identities tells serial, model and bay of all disks, by kernel name.
func (m *MD) identities() (map[string]hwcheck.Disk, error) {
	out := map[string]hwcheck.Disk{}
	if m.cfg.Identify != nil {
		disks, err := m.cfg.Identify()
		if err != nil {
			return nil, fmt.Errorf("identify disks: %w", err)
		}
		for _, d := range disks {
			out[filepath.Base(d.Dev)] = d
		}
		return out, nil
	}
	for _, n := range m.names() {
		d, err := m.fromSysfs(n)
		if err != nil {
			continue // pulled meanwhile
		}
		out[n] = d
	}
	return out, nil
}

// verify makes sure that the device is still the disk that was meant: names are given again.
func (m *MD) verify(d roles.Disk) error {
	known, err := m.identities()
	if err != nil {
		return err
	}
	got, ok := known[filepath.Base(d.Dev)]
	if !ok {
		return fmt.Errorf("%s: %w", d.Dev, array.ErrGone)
	}
	if got.Serial != d.Serial {
		return fmt.Errorf("%s is now the disk %q, not %q: %w", d.Dev, got.Serial, d.Serial, array.ErrGone)
	}
	return nil
}

// fromSysfs reads serial, model and bay of one disk.
func (m *MD) fromSysfs(name string) (hwcheck.Disk, error) {
	base := "block/" + name
	place, err := filepath.EvalSymlinks(filepath.Join(m.sys, base))
	if err != nil {
		return hwcheck.Disk{}, fmt.Errorf("identify disk %s: %w", name, err)
	}
	d := hwcheck.Disk{Dev: m.path(name), Path: place}
	for _, p := range []string{"/serial", "/device/serial"} {
		if d.Serial == "" {
			d.Serial = m.sysString(base + p)
		}
	}
	if d.Serial == "" {
		// SCSI: vital product data page 0x80: four bytes of header, then the serial.
		if b := m.sysString(base + "/device/vpd_pg80"); len(b) > 4 {
			d.Serial = strings.TrimSpace(b[4:])
		}
	}
	d.Model = m.sysString(base + "/device/model")
	address := ""
	for part := range strings.SplitSeq(place, "/") {
		if n := len("0000:00:00"); len(part) > n && part[n] == '.' && strings.Count(part, ":") == 2 {
			address = part[:n]
		}
	}
	for _, b := range m.cfg.Bays {
		if b.Path != "" && strings.Contains(place, b.Path) {
			d.Bay = b.Number
			return d, nil
		}
	}
	// A controller's disks are not in the controller's slot.
	if address == "" || !strings.HasPrefix(name, "vd") && !strings.HasPrefix(name, "nvme") {
		return d, nil
	}
	slots, _ := filepath.Glob(filepath.Join(m.sys, "bus/pci/slots/*/address"))
	for _, s := range slots {
		if m.sysString(strings.TrimPrefix(s, m.sys+"/")) == address {
			_, _ = fmt.Sscanf(filepath.Base(filepath.Dir(s)), "%d", &d.Bay)
		}
	}
	return d, nil
}
