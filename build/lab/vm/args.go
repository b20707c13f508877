package vm

import (
	"fmt"
	"strconv"
	"strings"

	"sayasystems.com/atlas/build/lab/folder"
)

// inside is where QEMU and nbdkit, which run in the tools root, see the lab's folder. It is short on purpose: the address of a
// Unix socket holds 108 bytes.
const inside = "/mnt"

// machine is all that QEMU's command line depends on.
type machine struct {
	Server    folder.Server
	MemoryMiB int
	CPUs      int
	KVM       bool
	From      string              // "", Stick or CD
	Stick     string              // the stick's image, as a program in the tools root sees it
	Disks     map[int]folder.Disk // in bays
}

// qemuArgs returns QEMU's arguments. Paths are those inside the tools root.
func qemuArgs(m machine) []string {
	dir := inside + "/servers/" + m.Server.Name
	// Emulated, five-level page tables and the wide vector instructions that libraries choose where they can only cost time: a
	// boot takes a quarter less without them.
	accel, cpu := "tcg,thread=multi,tb-size=512", "max,la57=off,avx=off"
	if m.KVM {
		accel, cpu = "kvm", "host"
	}
	a := []string{
		"-name", "atlas-" + m.Server.Name,
		"-machine", "q35,smm=off", "-accel", accel, "-cpu", cpu,
		"-smp", strconv.Itoa(m.CPUs), "-m", strconv.Itoa(m.MemoryMiB),
		"-nodefaults", "-no-user-config", "-display", "none", "-rtc", "base=utc",
		"-uuid", m.Server.UUID,
		"-smbios", "type=1,manufacturer=ATLAS lab,product=Virtual server,serial=" + m.Server.Serial + ",uuid=" + m.Server.UUID,
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
		"-drive", "if=pflash,format=raw,unit=1,file=" + dir + "/vars.fd",
		"-chardev", "socket,id=monitor,path=" + dir + "/run/qmp.sock,server=on,wait=off",
		"-mon", "chardev=monitor,mode=control",
		"-chardev", "socket,id=console,path=" + dir + "/run/console.sock,server=on,wait=off,logfile=" + dir + "/console.log,logappend=on",
		"-serial", "chardev:console",
		"-device", "virtio-rng-pci,bus=pcie.0",
		"-device", "i6300esb", "-action", "watchdog=reset",
		"-netdev", "tap,id=net0,ifname=" + m.Server.Name + "0,script=no,downscript=no",
		"-device", "virtio-net-pci,id=nic0,bus=pcie.0,romfile=,netdev=net0,mac=" + m.Server.MAC,
		// Native hot-plug, as NVMe bays of real servers have it: the kernel then names a slot by its number, which is the bay's.
		"-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
	}
	system := "virtio-blk-pci,id=system,bus=pcie.0,drive=system," + faults + ",serial=" + SystemSerial(m.Server.Name)
	if m.From == "" {
		system += ",bootindex=0"
	} else {
		system += ",bootindex=1"
		a = append(a, "-device", "qemu-xhci,id=usb,bus=pcie.0")
	}
	a = append(a, "-blockdev", blockdev("system", "system"), "-device", system)
	switch m.From {
	case Stick:
		a = append(a, "-blockdev", "driver=raw,node-name=stick,file.driver=file,file.filename="+m.Stick,
			"-device", "usb-storage,bus=usb.0,drive=stick,removable=on,serial=LAB-STICK,bootindex=0")
	case CD:
		a = append(a, "-blockdev", "driver=raw,node-name=cd,read-only=on,file.driver=file,file.filename="+m.Stick,
			"-device", "ide-cd,drive=cd,serial=LAB-CD,bootindex=0")
	}
	for bay := 1; bay <= folder.Bays; bay++ {
		a = append(a, "-device", fmt.Sprintf("pcie-root-port,id=bay%d,bus=pcie.0,slot=%d,chassis=%d", bay, bay, bay))
		if d, ok := m.Disks[bay]; ok {
			a = append(a, "-blockdev", blockdev(node(d.Serial), node(d.Serial)),
				"-device", fmt.Sprintf("virtio-blk-pci,id=disk%d,bus=bay%d,drive=%s,%s,serial=%s", bay, bay, node(d.Serial), faults, d.Serial))
		}
	}
	return replace(a, "%dir%", dir)
}

// faults: an I/O error reaches the guest, as a real disk's would, and a flush reaches nbdkit.
const faults = "werror=report,rerror=report,write-cache=on"

// blockdev describes a disk that an nbdkit serves on run/NAME.sock of the server.
func blockdev(name, socket string) string {
	return "driver=nbd,node-name=" + name + ",server.type=unix,server.path=%dir%/run/" + socket + ".sock"
}

// node is the name of a disk inside QEMU, and of its nbdkit's socket: it stays the disk's when the disk changes its bay.
func node(serial string) string { return "d-" + strings.ToLower(serial) }

// SystemSerial is the serial of a server's system disk: LAB-LSYS for left.
func SystemSerial(server string) string { return "LAB-" + strings.ToUpper(server[:1]) + "SYS" }

// nbdkitArgs returns nbdkit's arguments for one disk. The error filter is outermost, so that a read from the cache fails as
// well; exitlast ends nbdkit when QEMU has let go of the disk, after its last flush.
func nbdkitArgs(image, socket, trigger string) []string {
	return []string{
		"--foreground", "--unix", socket,
		"--filter=exitlast", "--filter=error", "--filter=cache", "file", image,
		"cache=writeback", "error=EIO", "error-rate=100%", "error-file=" + trigger,
	}
}

func replace(list []string, old, now string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.ReplaceAll(s, old, now)
	}
	return out
}
