package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/gpt"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/handover"
)

// candidate is a disk with the wanted root on it.
type candidate struct {
	disk  string // name in /sys/block
	parts []gpt.Partition
	esp   gpt.Partition
	root  gpt.Partition
}

// findRoot waits for the disk that holds the partition called name and returns the root's device. The firmware knows which ESP
// it booted from and systemd-boot passes that on; where it does not (CD), the only disk with such a partition is it.
func (b *boot) findRoot(ctx context.Context, name string) (string, error) {
	espName := layout.ESP
	if b.handover.Mode == handover.Install {
		espName = layout.InstallESP
	}
	booted := bootedESP()
	events := newEvents()
	defer events.close()
	deadline := time.Now().Add(deviceTimeout)
	// Two disks with the same names are no surprise (a server's old system disk, kept as a spare): without the firmware's word,
	// take none before all have had time to show up.
	settle := time.Now().Add(3 * time.Second)
	told := time.Now().Add(5 * time.Second)
	for {
		all := candidates(name, espName)
		for _, c := range all {
			if booted != "" && strings.EqualFold(c.esp.GUID, booted) {
				return b.take(c)
			}
		}
		now := time.Now()
		if booted == "" && len(all) == 1 && (now.After(settle) || strings.HasPrefix(all[0].disk, "sr")) {
			return b.take(all[0])
		}
		if now.After(deadline) {
			return b.giveUp(all, name, booted)
		}
		if now.After(told) {
			b.consoles.printf("waiting for the disk with %s …\n", name)
			told = deadline
		}
		events.wait(500 * time.Millisecond)
		if _, err := b.plug.Run(ctx); err != nil {
			return "", err
		}
	}
}

// giveUp decides when time is up: a single candidate is taken though the firmware named another disk, as a CD or a copied disk
// makes it; none or several are for a person.
func (b *boot) giveUp(all []candidate, name, booted string) (string, error) {
	switch len(all) {
	case 1:
		return b.take(all[0])
	case 0:
		what := "Check that the system disk (or the install stick) is connected and that the firmware shows it, then restart."
		return "", &failure{fmt.Errorf("no disk with a partition %s appeared within %s; disks seen: %s", name, deviceTimeout, orNone(disks())), what}
	default:
		var names []string
		for _, c := range all {
			names = append(names, c.disk)
		}
		return "", &failure{
			fmt.Errorf("several disks hold %s (%s) and none is the one booted from (%q)", name, strings.Join(names, ", "), booted),
			"Leave only this server's own system disk connected and restart.",
		}
	}
}

func (b *boot) take(c candidate) (string, error) {
	root, err := device(c.disk, c.root)
	if err != nil {
		return "", err
	}
	esp, err := device(c.disk, c.esp)
	if err != nil {
		return "", err
	}
	b.handover.Root = root
	if b.handover.Mode == handover.Install {
		b.handover.Stick = esp
		return root, nil
	}
	b.handover.SystemDisk, b.handover.ESP = "/dev/"+c.disk, esp
	if p, ok := gpt.Find(c.parts, layout.State); ok {
		if b.handover.State, err = device(c.disk, p); err != nil {
			return "", err
		}
	}
	return root, nil
}

// candidates lists the disks that have both partitions.
func candidates(root, esp string) []candidate {
	var out []candidate
	for _, d := range disks() {
		parts, err := readTable(d)
		if err != nil {
			continue
		}
		r, okR := gpt.Find(parts, root)
		e, okE := gpt.Find(parts, esp)
		if okR && okE {
			out = append(out, candidate{disk: d, parts: parts, esp: e, root: r})
		}
	}
	return out
}

// disks names the whole disks and CD drives that the kernel knows.
func disks() []string {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if n := e.Name(); !slices.ContainsFunc([]string{"loop", "ram", "md", "dm-", "fd", "zram", "nbd"}, func(p string) bool { return strings.HasPrefix(n, p) }) {
			out = append(out, n)
		}
	}
	return out
}

// readTable reads a disk's partition table. Tables of CDs count in 512-byte blocks, since the image is made for both CD and stick.
func readTable(disk string) ([]gpt.Partition, error) {
	f, err := os.Open("/dev/" + disk) // an empty CD drive refuses this
	if err != nil {
		return nil, fmt.Errorf("read partition table: %w", err)
	}
	defer f.Close()
	size := sysNumber(disk, "size") * 512
	block := int(sysNumber(disk, "queue/logical_block_size"))
	parts, err := gpt.Read(f, size, 512)
	if err != nil && block == 4096 {
		return gpt.Read(f, size, block)
	}
	return parts, err
}

// device returns the device node of a partition, making a loop device over its extent where the kernel shows none.
func device(disk string, p gpt.Partition) (string, error) {
	dirs, err := filepath.Glob(filepath.Join("/sys/block", disk, disk+"*", "partition"))
	if err != nil {
		return "", fmt.Errorf("find partition %s: %w", p.Name, err)
	}
	for _, f := range dirs {
		dir := filepath.Dir(f)
		if sysNumber(disk, filepath.Base(dir)+"/start")*512 == p.Start {
			return "/dev/" + filepath.Base(dir), nil
		}
	}
	return loopOver("/dev/"+disk, p.Start, p.Size)
}

func sysNumber(disk, file string) int64 {
	data, err := os.ReadFile(filepath.Join("/sys/block", disk, file))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// bootedESP is the partition GUID of the ESP that systemd-boot was started from, "" if it did not say (Boot Loader Interface).
func bootedESP() string {
	data, err := os.ReadFile("/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
	if err != nil {
		return ""
	}
	return efiString(data)
}

// efiString decodes an EFI variable as efivarfs shows it: four bytes of attributes, then UTF-16 with a terminating zero.
func efiString(data []byte) string {
	if len(data) < 4 {
		return ""
	}
	var u []uint16
	for d := data[4:]; len(d) >= 2; d = d[2:] {
		c := uint16(d[0]) | uint16(d[1])<<8
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}

func orNone(l []string) string {
	if len(l) == 0 {
		return "none"
	}
	return strings.Join(l, ", ")
}

// loopOver makes a read-only loop device over part of a device.
func loopOver(dev string, start, size int64) (string, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("make loop device: %w", err)
	}
	defer ctl.Close()
	back, err := os.OpenFile(dev, os.O_RDONLY, 0)
	if err != nil {
		return "", fmt.Errorf("make loop device: %w", err)
	}
	defer back.Close()
	for range 8 { // another may take the free one first
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("make loop device: %w", err)
		}
		name := "/dev/loop" + strconv.Itoa(n)
		l, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return "", fmt.Errorf("make loop device: %w", err)
		}
		cfg := unix.LoopConfig{Fd: uint32(back.Fd())}
		cfg.Info.Offset, cfg.Info.Sizelimit, cfg.Info.Flags = uint64(start), uint64(size), unix.LO_FLAGS_READ_ONLY
		err = unix.IoctlLoopConfigure(int(l.Fd()), &cfg)
		_ = l.Close()
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return "", fmt.Errorf("make loop device over %s: %w", dev, err)
		}
	}
	return "", fmt.Errorf("make loop device over %s: all are taken", dev)
}
