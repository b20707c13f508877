package hwcheck

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jaypipes/ghw"
)

// nics lists network interfaces that have a device below them.
func (t *taker) nics() error {
	entries, err := os.ReadDir(t.path("sys/class/net"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := t.path("sys/class/net", e.Name())
		device := t.device(filepath.Join(dir, "device"))
		if device == "" || strings.Contains(device, "/devices/virtual/") || first(read(dir, "type"), "1") != "1" {
			continue
		}
		n := NIC{Name: e.Name(), MAC: read(dir, "address"), Path: place(device, t.path("sys")), Link: read(dir, "carrier") == "1"}
		if driver, err := os.Readlink(filepath.Join(dir, "device/driver")); err == nil {
			n.Driver = filepath.Base(driver)
		}
		if mbit, err := strconv.Atoi(read(dir, "speed")); err == nil && mbit > 0 {
			n.Speed = mbit
		}
		t.inv.NICs = append(t.inv.NICs, n)
	}
	slices.SortFunc(t.inv.NICs, func(a, b NIC) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// driverless are PCI classes (by prefix) that work, or are not missed in a server, without a driver: display, sound, memory
// controllers, bridges, simple communication (management engines), system peripherals, input, processors, SMBus, signal
// processing (thermal sensors, counters), instrumentation.
var driverless = []string{"03", "04", "05", "06", "0780", "08", "09", "0b", "0c05", "0c80", "11", "13"}

// pci lists devices without a driver.
func (t *taker) pci() error {
	dir := t.path("sys/bus/pci/devices")
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil // a machine without PCI
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		class := strings.TrimPrefix(read(dir, e.Name(), "class"), "0x")
		if _, err := os.Stat(filepath.Join(dir, e.Name(), "driver")); err == nil ||
			slices.ContainsFunc(driverless, func(p string) bool { return strings.HasPrefix(class, p) }) {
			continue
		}
		t.inv.NoDriver = append(t.inv.NoDriver, PCIDevice{
			Address: e.Name(), Class: class, Modalias: read(dir, e.Name(), "modalias"),
			Vendor:  strings.TrimPrefix(read(dir, e.Name(), "vendor"), "0x"),
			Product: strings.TrimPrefix(read(dir, e.Name(), "device"), "0x"),
		})
	}
	if len(t.inv.NoDriver) == 0 {
		return nil
	}
	// Words for the numbers cost memory and time; they are looked up only when there is something to tell.
	info, err := ghw.PCI(t.options...)
	if err != nil {
		t.inv.Problems = append(t.inv.Problems, Finding{
			ID: "inventory-pci-names", Severity: Info,
			What: fmt.Sprintf("PCI devices without a driver are told by number, not by name: %v.", err),
		})
		return nil
	}
	for i := range t.inv.NoDriver {
		d := &t.inv.NoDriver[i]
		for _, l := range info.Devices {
			if l.Address != d.Address {
				continue
			}
			if l.Vendor != nil {
				d.Vendor = first(l.Vendor.Name, d.Vendor)
			}
			if l.Product != nil {
				d.Product = first(l.Product.Name, d.Product)
			}
			if l.Class != nil {
				d.Class = first(l.Class.Name, d.Class)
			}
		}
	}
	return nil
}
