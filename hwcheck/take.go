package hwcheck

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jaypipes/ghw"
)

// Options say how to take an inventory.
type Options struct {
	Root   string // prefix of /sys and /proc, for tests; "" = /
	Server string // name of this server, copied into the inventory
	Bays   []Bay  // overrides, where the hardware does not number its bays or numbers them wrongly
}

// Bay ties a disk's place in the hardware to the number printed on the front. Number 0 says that the place is no bay.
type Bay struct {
	Number int
	Path   string // Disk.Path
}

// Take reads what the server is made of. Parts that cannot be read are told in Problems and left empty; the only error is that
// ctx ended. It needs neither udev nor pci.ids, but names PCI devices in words only with the latter. Reading pci.ids takes some
// 20 MB of memory for a moment: let a short-lived process call this, not PID 1.
func Take(ctx context.Context, o Options) (Inventory, error) {
	t := taker{root: o.Root, options: []any{ghw.WithDisableWarnings(), ghw.WithDisableTools()}}
	if t.root != "" && t.root != "/" {
		t.options = append(t.options, ghw.WithChroot(t.root))
	} else {
		t.root = "/"
	}
	t.inv.Server = o.Server
	for _, part := range []struct {
		name string
		take func() error
	}{
		{"machine", t.machine},
		{"processor", t.cpu},
		{"memory", t.memory},
		{"disks", func() error { return t.disks(o.Bays) }},
		{"network", t.nics},
		{"PCI devices", t.pci},
	} {
		if err := ctx.Err(); err != nil {
			return t.inv, fmt.Errorf("take inventory: %w", err)
		}
		if err := guard(part.take); err != nil {
			t.inv.Problems = append(t.inv.Problems, Finding{
				ID: "inventory-" + strings.ReplaceAll(strings.ToLower(part.name), " ", "-"), Severity: Warning,
				What: fmt.Sprintf("The inventory of %s could not be taken: %v.", part.name, err),
				Next: "The server works without it; tell the vendor.",
			})
		}
	}
	return t.inv, nil
}

// guard turns a panic of the library on hardware that it does not know into an error: an inventory must never stop a boot.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

type taker struct {
	root    string
	options []any
	inv     Inventory
}

func (t *taker) path(elem ...string) string {
	return filepath.Join(append([]string{t.root}, elem...)...)
}

// read returns a sysfs attribute without white space around it, "" if there is none.
func read(elem ...string) string {
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.Trim(string(b), "\x00"))
}

// known drops the library's word for nothing.
func known(s string) string {
	s = strings.TrimSpace(s)
	if strings.EqualFold(s, "unknown") || strings.EqualFold(s, "none") {
		return ""
	}
	return s
}

func (t *taker) machine() error {
	var errs []string
	if p, err := ghw.Product(t.options...); err != nil {
		errs = append(errs, err.Error())
	} else {
		t.inv.Product = strings.TrimSpace(known(p.Vendor) + " " + known(p.Name))
		t.inv.Serial, t.inv.UUID = known(p.SerialNumber), known(p.UUID)
	}
	if b, err := ghw.Baseboard(t.options...); err != nil {
		errs = append(errs, err.Error())
	} else {
		t.inv.Board = strings.TrimSpace(known(b.Vendor) + " " + known(b.Product))
	}
	if b, err := ghw.BIOS(t.options...); err != nil {
		errs = append(errs, err.Error())
	} else {
		t.inv.Firmware = strings.Join(slices.DeleteFunc([]string{known(b.Vendor), known(b.Version), known(b.Date)},
			func(s string) bool { return s == "" }), ", ")
	}
	if len(errs) > 0 {
		return fmt.Errorf("%s", strings.Join(errs, "; "))
	}
	return nil
}

func (t *taker) cpu() error {
	c, err := ghw.CPU(t.options...)
	if err != nil || c.TotalHardwareThreads == 0 {
		return t.cpuinfo()
	}
	t.inv.CPU = CPU{Cores: int(c.TotalCores), Threads: int(c.TotalHardwareThreads)}
	for _, p := range c.Processors {
		if t.inv.CPU.Model == "" {
			t.inv.CPU.Model = known(p.Model)
			t.inv.CPU.Flags = slices.Sorted(slices.Values(p.Capabilities))
		}
	}
	return nil
}

// cpuinfo reads what the library cannot tell where /sys/devices/system/cpu is not to be had. Cores are counted as threads.
func (t *taker) cpuinfo() error {
	text := read(t.path("proc/cpuinfo"))
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "processor":
			t.inv.CPU.Threads++
		case "model name":
			t.inv.CPU.Model = value
		case "flags":
			t.inv.CPU.Flags = slices.Sorted(slices.Values(strings.Fields(value)))
		}
	}
	t.inv.CPU.Cores = t.inv.CPU.Threads
	if t.inv.CPU.Threads == 0 {
		return fmt.Errorf("%s: %w", t.path("proc/cpuinfo"), fs.ErrNotExist)
	}
	return nil
}

func (t *taker) memory() error {
	m, err := ghw.Memory(t.options...)
	if err == nil && max(m.TotalPhysicalBytes, m.TotalUsableBytes) > 0 {
		t.inv.Memory = uint64(max(m.TotalPhysicalBytes, m.TotalUsableBytes))
		return nil
	}
	var kib uint64
	for line := range strings.Lines(read(t.path("proc/meminfo"))) {
		if n, _ := fmt.Sscanf(line, "MemTotal: %d kB", &kib); n == 1 {
			t.inv.Memory = kib << 10
			return nil
		}
	}
	if err == nil {
		err = fs.ErrNotExist
	}
	return err
}
