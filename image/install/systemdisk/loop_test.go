package systemdisk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/esp"
	"sayasystems.com/atlas/image/layout"
)

// loop attaches file to a loop device with partitions; the test is skipped where that is not possible.
func loop(t *testing.T, file string) string {
	t.Helper()
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no loop devices: %v", err)
	}
	defer ctl.Close()
	back, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	for range 10 { // another process may be quicker
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Skipf("no loop devices: %v", err)
		}
		dev := fmt.Sprintf("/dev/loop%d", n)
		f, err := os.OpenFile(dev, os.O_RDWR, 0)
		if err != nil {
			t.Skipf("no loop devices: %v", err)
		}
		t.Cleanup(func() { f.Close() })
		err = unix.IoctlLoopConfigure(int(f.Fd()), &unix.LoopConfig{Fd: uint32(back.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_PARTSCAN}})
		if err == nil {
			t.Cleanup(func() { _ = unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0) })
			return dev
		}
	}
	t.Skip("no loop device is free")
	return ""
}

// TestRealDisk writes a whole system disk through the kernel, as the installer does, twice over.
func TestRealDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for loop devices and mounts")
	}
	for _, tool := range []string{"mkfs.ext4", "e2fsck"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s (package e2fsprogs)", tool)
		}
	}
	disk := image(t, 4<<30)
	dev := loop(t, disk)
	src := filepath.Join(t.TempDir(), "root")
	root := append([]byte("hsqs"), bytes.Repeat([]byte("0123456789abcdef"), 1<<18)...)
	binary.LittleEndian.PutUint64(root[40:], uint64(len(root)))
	if err := os.WriteFile(src, root, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Begin(dev, Mark{Server: "left"}); err != nil {
			t.Fatal(err)
		}
		if err := Partition(dev); err != nil {
			t.Fatal(err)
		}
		// A kernel that does not know GPT needs to be told of the partitions; one that does has them already.
		_ = exec.Command("partx", "-a", dev).Run()
		part := map[string]string{}
		for _, name := range []string{layout.ESP, layout.RootA, layout.RootB, layout.State} {
			p, err := Find(t.Context(), dev, name)
			if err != nil {
				t.Skipf("the kernel makes no partitions of loop devices here: %v", err)
			}
			part[name] = p
		}
		if _, err := CopyRoot(t.Context(), src, part[layout.RootA], nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := MakeState(t.Context(), part[layout.State]); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := MountState(part[layout.State], dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "server.yaml"), []byte("x"), 0o600); err != nil {
			t.Error(err)
		}
		if err := UnmountState(dir); err != nil {
			t.Fatal(err)
		}
		if err := UnmountState(dir); err != nil {
			t.Errorf("UnmountState again: %v", err)
		}
		files := []esp.File{
			{Path: layout.BootLoader, Data: []byte("loader")},
			{Path: layout.UKIDir + "/" + layout.UKIName("1.2", "a", 3), Data: bytes.Repeat([]byte("kernel"), 1<<20)},
		}
		if err := WriteESP(part[layout.ESP], files, time.Now()); err != nil {
			t.Fatal(err)
		}
		check(t, "e2fsck", "-fn", part[layout.State])
		check(t, "fsck.vfat", "-nv", part[layout.ESP])
		if err := ClearMark(dev); err != nil {
			t.Fatal(err)
		}
	}
	check(t, "sgdisk", "-v", dev)
}

// check runs a checker where there is one.
func check(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Logf("not checked: %s is not here", name)
		return
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %v: %v\n%s", name, args, err, out)
	}
}
