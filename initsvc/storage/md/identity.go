package md

import (
	"fmt"
	"path/filepath"
	"strings"

	"sayasystems.com/atlas/hwcheck"
)

// identities tells serial, model and bay of all disks, by kernel name.
func (m *MD) identities() (map[string]hwcheck.Disk, error) {
	out := map[string]hwcheck.Disk{}
	for _, n := range m.names() {
		d, err := m.identity(n)
		if err != nil {
			return nil, err
		}
		out[n] = d
	}
	return out, nil
}

// identity reads serial, model and bay of one disk from sysfs.
func (m *MD) identity(name string) (hwcheck.Disk, error) {
	base := "block/" + name
	real, err := filepath.EvalSymlinks(filepath.Join(m.sys, base))
	if err != nil {
		return hwcheck.Disk{}, fmt.Errorf("identify disk %s: %w", name, err)
	}
	d := hwcheck.Disk{Dev: m.path(name), Path: real}
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
	for part := range strings.SplitSeq(real, "/") {
		if n := len("0000:00:00"); len(part) > n && part[n] == '.' && strings.Count(part, ":") == 2 {
			address = part[:n]
		}
	}
	for _, b := range m.cfg.Bays {
		if b.Path != "" && strings.Contains(real, b.Path) {
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
