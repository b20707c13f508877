package hwcheck

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jaypipes/ghw"
)

// disks lists whole disks that have hardware below them, the library's view first, gaps filled from sysfs.
func (t *taker) disks(bays []Bay) error {
	entries, err := os.ReadDir(t.path("sys/block"))
	if err != nil {
		return err
	}
	library := map[string]*ghw.Disk{}
	blocks, libErr := ghw.Block(t.options...)
	if libErr == nil {
		for _, d := range blocks.Disks {
			library[d.Name] = d
		}
	}
	slots := t.pciSlots()
	ses := t.enclosureSlots()
	for _, e := range entries {
		dir := t.path("sys/block", e.Name())
		device := t.device(dir)
		if device == "" || strings.Contains(device, "/devices/virtual/") {
			continue // loop, md, dm, zram, zoned memory
		}
		d := t.disk(e.Name(), dir, device, library[e.Name()])
		if d.Size == 0 {
			continue // an empty drive
		}
		d.Bay = bay(d, device, slots, ses, e.Name(), bays)
		t.inv.Disks = append(t.inv.Disks, d)
	}
	slices.SortFunc(t.inv.Disks, func(a, b Disk) int { return strings.Compare(a.Dev, b.Dev) })
	t.sharedBays()
	if libErr != nil {
		return libErr
	}
	return nil
}

// device resolves a sysfs directory to the place in /sys/devices that it stands for, "" if it cannot be.
func (t *taker) device(dir string) string {
	p, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return ""
	}
	if i := strings.Index(p, "/devices/"); i >= 0 {
		return p[i:]
	}
	return ""
}

func (t *taker) disk(name, dir, device string, l *ghw.Disk) Disk {
	d := Disk{Dev: "/dev/" + name, Path: place(device, t.path("sys")), Bus: bus(name, device)}
	sectors, _ := strconv.ParseUint(read(dir, "size"), 10, 64)
	d.Size = sectors * 512
	d.Sector, _ = strconv.Atoi(read(dir, "queue/logical_block_size"))
	d.Physical, _ = strconv.Atoi(read(dir, "queue/physical_block_size"))
	d.Rotates = read(dir, "queue/rotational") == "1" && d.Bus != "virtio" && d.Bus != "nvme"
	d.Removable = read(dir, "removable") == "1" || d.Bus == "usb" || strings.HasPrefix(name, "sr")
	if l != nil {
		d.Model, d.Serial, d.WWN = known(l.Model), known(l.SerialNumber), known(l.WWN)
	}
	// The kernel's own word is the same with and without udev, so it goes before udev's spelling.
	d.Serial = first(read(dir, "serial"), read(dir, "device/serial"), vpd(dir, "device/vpd_pg80"), d.Serial)
	d.WWN = first(read(dir, "wwid"), read(dir, "device/wwid"), d.WWN)
	d.Model = first(strings.TrimSpace(ignoreATA(read(dir, "device/vendor"))+" "+read(dir, "device/model")), d.Model)
	if d.Bus == "virtio" {
		d.Model = first(known(d.Model), "virtio disk")
		if strings.HasPrefix(d.Model, "0x") { // device/vendor of a virtio device is a number
			d.Model = "virtio disk"
		}
	}
	return d
}

// ignoreATA drops the vendor that libata makes up for every disk.
func ignoreATA(vendor string) string {
	if vendor == "ATA" || strings.HasPrefix(vendor, "0x") {
		return ""
	}
	return vendor
}

// vpd reads the text of a SCSI vital product data page: a 4-byte header with a big-endian length, then ASCII (SPC-4, 7.8).
func vpd(elem ...string) string {
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil || len(b) < 4 {
		return ""
	}
	n := min(int(b[2])<<8|int(b[3]), len(b)-4)
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b[4:4+n])))
}

func first(s ...string) string {
	for _, v := range s {
		if v = known(v); v != "" {
			return v
		}
	}
	return ""
}

func bus(name, device string) string {
	switch {
	case strings.Contains(device, "/usb"):
		return "usb"
	case strings.HasPrefix(name, "nvme"):
		return "nvme"
	case strings.HasPrefix(name, "mmcblk"):
		return "mmc"
	case strings.Contains(device, "/ata"):
		return "sata"
	case strings.Contains(device, "/end_device-"):
		return "sas"
	case strings.HasPrefix(name, "vd"), strings.Contains(device, "/virtio"):
		return "virtio"
	}
	return "scsi"
}

var (
	pciAddress = regexp.MustCompile(`^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
	ataPort    = regexp.MustCompile(`^ata[0-9]+$`)
	usbPort    = regexp.MustCompile(`^[0-9]+-([0-9.]+)$`)
	sasPort    = regexp.MustCompile(`^(end_device|phy)-[0-9]+:(.+)$`)
	scsiLUN    = regexp.MustCompile(`^[0-9]+:([0-9]+:[0-9]+:[0-9]+)$`)
)

// place names a disk's or interface's place so that it is the same on every boot: the PCI path and, below it, the port. Numbers that the kernel
// hands out in the order of discovery (hostN, ataN, nvmeN, virtioN) are left out or replaced by the port's own.
func place(device, sys string) string {
	var p []string
	parts := strings.Split(strings.Trim(device, "/"), "/")
	for i, s := range parts {
		switch {
		case pciAddress.MatchString(s):
			p = append(p, s)
		case ataPort.MatchString(s):
			port := read(sys, filepath.Join(parts[:i+1]...), "ata_port", s, "port_no")
			p = append(p, "ata-"+first(port, strings.TrimPrefix(s, "ata")))
		case usbPort.MatchString(s):
			p = append(p, "usb-"+usbPort.FindStringSubmatch(s)[1])
		case sasPort.MatchString(s):
			p = append(p, "sas-"+sasPort.FindStringSubmatch(s)[2])
		case scsiLUN.MatchString(s):
			p = append(p, "lun-"+scsiLUN.FindStringSubmatch(s)[1])
		}
	}
	return strings.Join(p, "/")
}

// pciSlots maps the address of a PCI device without its function ("0000:03:00") to the number of its slot.
func (t *taker) pciSlots() map[string]int {
	slots := map[string]int{}
	entries, err := os.ReadDir(t.path("sys/bus/pci/slots"))
	if err != nil {
		return slots
	}
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "-") // the kernel makes "3-1" of a second slot 3
		n, err := strconv.Atoi(number)
		if address := read(t.path("sys/bus/pci/slots", e.Name(), "address")); err == nil && address != "" {
			slots[address] = n
		}
	}
	return slots
}

// enclosureSlots maps disk names to slots as SCSI enclosures tell them, counted from 1.
func (t *taker) enclosureSlots() map[string]int {
	found := map[string]int{}
	components, _ := filepath.Glob(t.path("sys/class/enclosure/*/*/slot"))
	offset := map[string]int{}
	for _, c := range components {
		if read(c) == "0" {
			offset[filepath.Dir(filepath.Dir(c))] = 1
		}
	}
	for _, c := range components {
		n, err := strconv.Atoi(read(c))
		disks, _ := filepath.Glob(filepath.Join(filepath.Dir(c), "device/block/*"))
		if err == nil && len(disks) == 1 {
			found[filepath.Base(disks[0])] = n + offset[filepath.Dir(filepath.Dir(c))]
		}
	}
	return found
}

// bay tells the number on the front. A PCI slot counts only for a disk that is itself the PCI device: the disks behind a
// controller card in a slot are not in that slot.
func bay(d Disk, device string, slots, ses map[string]int, name string, overrides []Bay) int {
	if i := slices.IndexFunc(overrides, func(b Bay) bool { return b.Path == d.Path }); i >= 0 {
		return overrides[i].Number
	}
	if n, ok := ses[name]; ok {
		return n
	}
	if d.Bus != "nvme" && (d.Bus != "virtio" || strings.Contains(device, "/host")) {
		return 0
	}
	last := ""
	for s := range strings.SplitSeq(device, "/") {
		if pciAddress.MatchString(s) {
			last = s
		}
	}
	address, _, _ := strings.Cut(last, ".")
	return slots[address]
}

func (t *taker) sharedBays() {
	seen := map[int]string{}
	for _, d := range t.inv.Disks {
		if d.Bay == 0 {
			continue
		}
		if other, ok := seen[d.Bay]; ok {
			t.inv.Problems = append(t.inv.Problems, Finding{
				ID: "inventory-bays", Severity: Warning,
				What: fmt.Sprintf("%s and %s both say that they are in bay %d.", other, d.Dev, d.Bay),
				Next: "Number the bays in server.yaml (bays: number and path).",
			})
		}
		seen[d.Bay] = d.Dev
	}
}
