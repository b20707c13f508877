package md_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// Real arrays need a kernel with md, which a build machine's may not have. So this test binary is started a second time as PID 1 of a
// user-mode Linux, which boots in two seconds without firmware or privileges. There it finds fake SCSI disks (scsi_debug), which can be
// pulled and inserted, and runs the tests whose names begin with TestGuest. Two things are needed:
//
//	ATLAS_UML       a directory with usr/bin/linux.uml and usr/lib/uml/modules (Debian's package user-mode-linux, unpacked)
//	ATLAS_TEST_ROOT a root filesystem with mdadm and e2fsprogs; it is only read
//	ATLAS_UML_RUN   optional: words that run a program of ATLAS_UML where its libraries are, such as "build tools"
//
// Without them the test is skipped, or fails when ATLAS_VM_TESTS=1 demands it.
const (
	guestPass = "GUEST PASS"
	guestFail = "GUEST FAIL"
)

func TestMain(m *testing.M) {
	if os.Getpid() != 1 {
		os.Exit(m.Run())
	}
	code := 1
	if err := enterGuest(); err != nil {
		fmt.Println("guest:", err)
	} else {
		code = m.Run()
	}
	fmt.Println(map[bool]string{true: guestPass, false: guestFail}[code == 0])
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// inGuest skips tests that need the guest.
func inGuest(t *testing.T) {
	t.Helper()
	if os.Getpid() != 1 {
		t.Skip("runs in user-mode Linux; see TestInUserModeLinux")
	}
}

func TestInUserModeLinux(t *testing.T) {
	if os.Getpid() == 1 {
		t.Skip("this is the guest")
	}
	need := func(what string, err error) {
		if err == nil {
			return
		}
		if os.Getenv("ATLAS_VM_TESTS") == "1" {
			t.Fatalf("%s: %v", what, err)
		}
		t.Skipf("%s: %v", what, err)
	}
	uml, root := os.Getenv("ATLAS_UML"), os.Getenv("ATLAS_TEST_ROOT")
	if uml == "" || root == "" {
		need("real arrays are not tested", errors.New("ATLAS_UML and ATLAS_TEST_ROOT are not set"))
	}
	kernel := filepath.Join(uml, "usr/bin/linux.uml")
	_, err := os.Stat(kernel)
	need("ATLAS_UML", err)
	modules, err := filepath.Glob(filepath.Join(uml, "usr/lib/uml/modules/*/modules.dep"))
	if err == nil && len(modules) != 1 {
		err = fmt.Errorf("%d trees of modules; want one", len(modules))
	}
	need("ATLAS_UML", err)
	_, err = os.Stat(filepath.Join(root, "usr/sbin/mdadm"))
	need("ATLAS_TEST_ROOT", err)

	dir := t.TempDir()
	initrd := filepath.Join(dir, "initrd")
	if err := makeInitrd(t.Context(), dir, initrd, root, filepath.Dir(modules[0])); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	args := []string{
		"mem=1400M", "initrd=" + initrd, "rdinit=/init", "con0=null,fd:1", "con=null", "ssl=null", "uml_dir=" + dir, "quiet", "panic=-1",
		"--", "-test.run=^TestGuest" + os.Getenv("ATLAS_GUEST_RUN"), "-test.v",
	}
	if run := strings.Fields(os.Getenv("ATLAS_UML_RUN")); len(run) > 0 {
		args = slices.Concat(run[1:], []string{"/usr/bin/linux.uml"}, args)
		kernel = run[0]
	}
	c := exec.CommandContext(ctx, kernel, args...)
	c.Env = append(os.Environ(), "TMPDIR="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) } // it is several processes
	c.WaitDelay = 5 * time.Second
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	passed := relay(t, out)
	if err := c.Wait(); err != nil {
		t.Logf("user-mode Linux: %v", err)
	}
	if !passed {
		t.Error("the guest's tests did not pass")
	}
}

// relay logs what the guest prints, and tells whether its last word was good.
func relay(t *testing.T, out io.Reader) bool {
	passed := false
	s := bufio.NewScanner(out)
	for s.Scan() {
		line := strings.TrimRight(s.Text(), "\r")
		switch line {
		case guestPass:
			passed = true
		case "":
		default:
			t.Log(line)
		}
	}
	return passed
}

// makeInitrd packs this package's tests, built anew without cgo so that they run anywhere, with a note of what to mount.
func makeInitrd(ctx context.Context, dir, initrd, root, modules string) error {
	bin := filepath.Join(dir, "guest.test")
	c := exec.CommandContext(ctx, "go", "test", "-c", "-o", bin, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build the guest's tests: %w: %s", err, out)
	}
	prog, err := os.ReadFile(bin)
	if err != nil {
		return err
	}
	f, err := os.Create(initrd)
	if err != nil {
		return err
	}
	defer f.Close()
	abs := func(p string) string { a, _ := filepath.Abs(p); return a }
	w := cpio.Newc.Writer(f)
	records := []cpio.Record{
		cpio.Directory("dev", 0o755), cpio.CharDev("dev/console", 0o600, 5, 1), cpio.Directory("new", 0o755),
		cpio.StaticFile("init", string(prog), 0o755),
		cpio.StaticFile("mounts", abs(root)+"\n"+abs(modules)+"\n", 0o644),
	}
	if err := cpio.WriteRecords(w, records); err != nil {
		return err
	}
	return cpio.WriteTrailer(w)
}

// enterGuest makes a root from the host's directories, and loads what the tests need.
func enterGuest() error {
	b, err := os.ReadFile("/mounts")
	if err != nil {
		return err
	}
	root, modules, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	for _, m := range []struct {
		dev, dir, kind, data string
		flags                uintptr
	}{
		{"none", "/new", "hostfs", root, unix.MS_RDONLY},
		{"proc", "/new/proc", "proc", "", 0},
		{"sysfs", "/new/sys", "sysfs", "", 0},
		{"devtmpfs", "/new/dev", "devtmpfs", "", 0},
		{"tmpfs", "/new/run", "tmpfs", "", 0},
		{"tmpfs", "/new/tmp", "tmpfs", "", 0},
		{"none", "/new/mnt", "hostfs", modules, unix.MS_RDONLY},
	} {
		if err := unix.Mount(m.dev, m.dir, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	if err := unix.Chroot("/new"); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	loaded := map[string]bool{}
	for _, m := range []string{"raid1", "raid456", "raid10", "sd_mod"} {
		if err := insert(m, "", loaded); err != nil {
			return err
		}
	}
	return insert("scsi_debug", "per_host_store=1 add_host=0 dev_size_mb=160 delay=0", loaded)
}

// insert loads a module after those that it needs.
func insert(name, params string, loaded map[string]bool) error {
	deps, err := os.ReadFile("/mnt/modules.dep")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(deps)) {
		path, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
		if filepath.Base(path) != name+".ko" {
			continue
		}
		for need := range strings.FieldsSeq(needs) {
			if err := insert(strings.TrimSuffix(filepath.Base(need), ".ko"), "", loaded); err != nil {
				return err
			}
		}
		if loaded[name] {
			return nil
		}
		loaded[name] = true
		// hostfs files cannot be loaded by descriptor everywhere, so by content.
		b, err := os.ReadFile(filepath.Join("/mnt", path))
		if err != nil {
			return err
		}
		if err := unix.InitModule(bytes.Clone(b), params); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", name, err)
		}
		return nil
	}
	return nil // built in
}
