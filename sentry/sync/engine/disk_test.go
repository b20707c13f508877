package engine

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is an ext4 filesystem on a file that can lose its power: what was not flushed by then is lost, also of the filesystem's own journal.
// EXT4_IOC_SHUTDOWN without a flush of the log does that (the kernel's own tests of crashes use it); what a disk keeps in a cache of its own
// is not part of it, the labs' disks have that.
type disk struct {
	t          testing.TB
	image, dir string
}

func newDisk(t testing.TB) *disk {
	t.Helper()
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "disk"), dir: rootDir(t)}
	f, err := os.Create(d.image)
	must(t, err)
	must(t, errors.Join(f.Truncate(6<<30), f.Close()))
	if out, err := exec.Command("mkfs.ext4", "-q", "-b", "4096", "-J", "size=16", "-E", "lazy_itable_init=1,nodiscard", d.image).CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4: %v: %s", err, out)
	}
	d.mount()
	t.Cleanup(func() { _ = unix.Unmount(d.dir, unix.MNT_DETACH) })
	return d
}

func (d *disk) mount() {
	d.t.Helper()
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		d.t.Skipf("no loop device to be had: %v: %s", err, out)
	}
}

const (
	shutdown   = 0x8004587d // EXT4_IOC_SHUTDOWN
	noLogFlush = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
)

// cut takes the power away. Everything that uses the disk gets errors from now on.
func (d *disk) cut() {
	d.t.Helper()
	f, err := os.Open(d.dir)
	must(d.t, err)
	defer f.Close()
	must(d.t, unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush))
}

// back brings the power back, when everything that used the disk has ended. Another process's view of the mounts may hold it for a while.
func (d *disk) back() {
	d.t.Helper()
	var err error
	gone := false
	for range 1200 {
		if !gone {
			err = unix.Unmount(d.dir, 0)
			gone = err == nil
		}
		if out, _ := exec.Command("losetup", "-j", d.image).Output(); gone && len(out) == 0 {
			d.mount()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	d.t.Fatalf("the disk is still in use: %v", err)
}
