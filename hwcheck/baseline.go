package hwcheck

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Baseline tells what has changed in a server since the inventory old. Disks in bays are left out: sets are meant to move.
func Baseline(old, now Inventory) []Finding {
	var f []Finding
	add := func(id, severity, next, format string, args ...any) {
		f = append(f, Finding{ID: "baseline-" + id, Severity: severity, What: fmt.Sprintf(format, args...), Next: next})
	}
	const cure = "Power off and check that part; if the change is meant, accept the new hardware as baseline."
	if old.Serial != now.Serial || old.UUID != now.UUID {
		add("machine", Warning, cure, "This is another machine than before: serial %q instead of %q.", now.Serial, old.Serial)
	}
	switch {
	case now.Memory < old.Memory && old.Memory-now.Memory > old.Memory/50:
		add("memory", Warning, cure, "Memory has shrunk from %s to %s: a module may have failed.", size(old.Memory), size(now.Memory))
	case now.Memory > old.Memory && now.Memory-old.Memory > now.Memory/50:
		add("memory", Info, "", "Memory has grown from %s to %s.", size(old.Memory), size(now.Memory))
	}
	if now.CPU.Threads < old.CPU.Threads {
		add("cpu", Warning, cure, "Processor threads have gone from %d to %d.", old.CPU.Threads, now.CPU.Threads)
	}
	if now.CPU.Model != old.CPU.Model {
		add("cpu-model", Info, "", "The processor is now %s; it was %s.", now.CPU.Model, old.CPU.Model)
	}
	if now.Firmware != old.Firmware {
		add("firmware", Info, "", "The firmware is now %s; it was %s.", now.Firmware, old.Firmware)
	}
	baselineNICs(old, now, cure, add)
	baselineDisks(old, now, cure, add)
	for _, d := range now.NoDriver {
		if !slices.ContainsFunc(old.NoDriver, func(o PCIDevice) bool { return o.Address == d.Address && o.Modalias == d.Modalias }) {
			add("no-driver-"+d.Address, Info, "", "The device at %s (%s %s) has no driver now.", d.Address, d.Vendor, d.Product)
		}
	}
	return sorted(f)
}

type adder func(id, severity, next, format string, args ...any)

func baselineNICs(old, now Inventory, cure string, add adder) {
	for _, o := range old.NICs {
		i := slices.IndexFunc(now.NICs, func(n NIC) bool { return n.MAC == o.MAC })
		switch {
		case i < 0:
			add("nic-"+o.MAC, Warning, cure, "The network interface %s (%s) is gone.", o.Name, o.MAC)
		case now.NICs[i].Speed > 0 && now.NICs[i].Speed < o.Speed:
			add("nic-speed-"+o.MAC, Warning, "Check its cable and switch port.", "The network interface %s runs at %d instead of %d Mbit/s.",
				now.NICs[i].Name, now.NICs[i].Speed, o.Speed)
		}
	}
	for _, n := range now.NICs {
		if !slices.ContainsFunc(old.NICs, func(o NIC) bool { return n.MAC == o.MAC }) {
			add("nic-"+n.MAC, Info, "", "The network interface %s (%s) is new.", n.Name, n.MAC)
		}
	}
}

func baselineDisks(old, now Inventory, cure string, add adder) {
	fixed := func(i Inventory) []Disk {
		return slices.DeleteFunc(slices.Clone(i.Disks), func(d Disk) bool { return d.Bay != 0 || d.Removable })
	}
	same := func(a, b Disk) bool { return a.Serial == b.Serial && (a.Serial != "" || a.Path == b.Path) }
	for _, o := range fixed(old) {
		if !slices.ContainsFunc(now.Disks, func(n Disk) bool { return same(o, n) }) {
			add("disk-"+o.Path, Warning, cure, "The built-in disk %s (serial %s) is gone.", o.Model, o.Serial)
		}
	}
	for _, n := range fixed(now) {
		if !slices.ContainsFunc(old.Disks, func(o Disk) bool { return same(o, n) }) {
			add("disk-"+n.Path, Info, "", "The built-in disk %s (serial %s) is new.", n.Model, n.Serial)
		}
	}
}

// Load reads an inventory that was kept as JSON. An absent file is fs.ErrNotExist.
func Load(path string) (Inventory, error) {
	var i Inventory
	data, err := os.ReadFile(path)
	if err != nil {
		return i, fmt.Errorf("read inventory: %w", err)
	}
	if err := json.Unmarshal(data, &i); err != nil {
		return i, fmt.Errorf("read inventory %s: %w", path, err)
	}
	return i, nil
}

// Decode reads an inventory from JSON, as a subprocess or a peer sends it.
func Decode(data []byte) (Inventory, error) {
	var i Inventory
	if len(data) == 0 {
		return i, errors.New("decode inventory: nothing was sent")
	}
	if err := json.Unmarshal(data, &i); err != nil {
		return i, fmt.Errorf("decode inventory: %w", err)
	}
	return i, nil
}
