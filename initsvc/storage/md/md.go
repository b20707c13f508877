// Package md runs the disk set on real disks: it partitions members, has mdadm make, assemble and stop arrays, and reads the state of a
// running array from sysfs (the kernel's Documentation/admin-guide/md.rst). mdadm is executed, its failures become *array.CommandError;
// labels and md superblocks are read directly, so that reading all disks at boot starts no process.
//
// It decides nothing: which disks belong together, and what is recorded before what, is package storage's.
package md

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/roles"
)

// Config is what New needs.
type Config struct {
	Skip  []string       // devices whose whole disk is not touched: system disk, install stick; "" is ignored
	Bays  []siteconf.Bay // bays as server.yaml names them
	Mount string         // where a started set is mounted
	Log   *slog.Logger
	// Identify tells serial, model and bay of all disks; nil = read from sysfs here.
	Identify func() ([]hwcheck.Disk, error)
}

// node is the array's device. A server runs one set, so that one name is enough.
const (
	node     = "md0"
	nodePath = "/dev/" + node
)

// MD is the disks and the running array of this machine. It is used by one goroutine at a time, but for Fingerprint and Disks.
type MD struct {
	cfg  Config
	sys  string // "/sys"
	dev  string // "/dev"
	proc string // "/proc"
	wait time.Duration

	mu      sync.Mutex
	running bool
	parts   map[string]string // device of the disk → kernel name of its member partition, of the disks given to the array
}

// New returns the disks of this machine.
func New(cfg Config) *MD {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &MD{cfg: cfg, sys: "/sys", dev: "/dev", proc: "/proc", wait: 15 * time.Second, parts: map[string]string{}}
}

// command runs a program and returns what it printed.
func (m *MD) command(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, program(args[0]), args[1:]...)
	c.Env = []string{"PATH=" + strings.Join(programDirs(), ":"), "LC_ALL=C", "MDADM_NO_UDEV=1"}
	c.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	start := time.Now()
	err := c.Run()
	m.cfg.Log.Debug("command", "args", strings.Join(args, " "), "duration", time.Since(start), "error", err)
	if err == nil {
		return out.String(), nil
	}
	e := &array.CommandError{Args: args, Exit: -1, Output: out.String(), Err: err}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		e.Exit = exit.ExitCode()
	}
	return out.String(), e
}

func programDirs() []string { return []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} }

// program finds a program without asking the environment, which PID 1 may not have.
func program(name string) string {
	for _, dir := range programDirs() {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode()&0o111 != 0 {
			return path
		}
	}
	return name
}

// until polls ok until it holds or the wait is over: the kernel creates and removes nodes in its own time, and tells nobody who has no
// udev.
func (m *MD) until(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, m.wait)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// partitionName is the kernel's name of a partition: sda2, nvme0n1p2.
func partitionName(disk string, number int) string {
	disk = filepath.Base(disk)
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		return fmt.Sprintf("%sp%d", disk, number)
	}
	return fmt.Sprintf("%s%d", disk, number)
}

const memberNumber = 2 // p1 is the label, p2 the md member

// Create implements the store's hands: it makes the array, its filesystem, and mounts it.
func (m *MD) Create(ctx context.Context, s array.Spec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running {
		return fmt.Errorf("create array: %w", array.ErrBusy)
	}
	var parts []string
	for _, d := range s.Disks {
		parts = append(parts, m.path(partitionName(d.Dev, memberNumber)))
	}
	for _, p := range parts {
		if err := m.zeroSuper(ctx, p); err != nil {
			return fmt.Errorf("create array: %w", err)
		}
	}
	args := []string{
		"mdadm", "--create", nodePath, "--run", "--metadata=1.2", "--bitmap=internal", "--homehost=any", "--name=atlas",
		"--uuid=" + s.UUID, "--level=" + strings.TrimPrefix(string(s.Level), "raid"), fmt.Sprintf("--raid-devices=%d", len(parts)),
	}
	if err := m.make(ctx, s, args, parts); err != nil {
		return fmt.Errorf("create array: %w", err)
	}
	m.took(s.Disks)
	s.Say("making the filesystem")
	// No discard: it may bring back anything on either half of a mirror, and then the halves differ.
	if _, err := m.command(ctx, "mkfs.ext4", "-q", "-F", "-L", "atlas-set", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", "-e", "remount-ro", nodePath); err != nil {
		return fmt.Errorf("create filesystem: %w", err)
	}
	return m.mount()
}

// make runs mdadm --create. Disks that can zero themselves are zeroed, and are in sync at once; others are synchronised in the background.
func (m *MD) make(ctx context.Context, s array.Spec, args, parts []string) error {
	if m.canZero(ctx, s.Disks) {
		s.Say("zeroing the disks and making the array")
		_, err := m.command(ctx, append(append(args, "--write-zeroes"), parts...)...)
		if err == nil {
			return nil
		}
		m.cfg.Log.Warn("disks do not zero themselves, the array is synchronised instead", "error", err)
		if m.exists("block/" + node + "/md/array_state") {
			_, _ = m.command(ctx, "mdadm", "--stop", nodePath)
		}
	}
	s.Say("making the array")
	_, err := m.command(ctx, append(args, parts...)...)
	return err
}

// canZero tells whether all disks have a command that writes zeroes, and mdadm knows how to use it (4.3 and later).
func (m *MD) canZero(ctx context.Context, disks []roles.Disk) bool {
	for _, d := range disks {
		if n := m.sysNumber("class/block/" + filepath.Base(d.Dev) + "/queue/write_zeroes_max_bytes"); n == 0 {
			return false
		}
		if m.sysNumber("class/block/"+filepath.Base(d.Dev)+"/queue/rotational") == 1 && d.Size > 64<<30 {
			return false // it would take hours, and the installer waits
		}
	}
	out, err := m.command(ctx, "mdadm", "--version")
	return err == nil && knowsZeroes(out)
}

// knowsZeroes reads "mdadm - v4.4 - 2024-11-07 - Debian 4.4-11".
func knowsZeroes(version string) bool {
	var major, minor int
	_, rest, _ := strings.Cut(version, " - v")
	if n, _ := fmt.Sscanf(rest, "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return cmp.Or(cmp.Compare(major, 4), cmp.Compare(minor, 3)) >= 0
}

// Assemble implements the store's hands.
func (m *MD) Assemble(ctx context.Context, s array.Spec) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running {
		return fmt.Errorf("assemble array: %w", array.ErrBusy)
	}
	if err := m.release(ctx, s.Disks); err != nil {
		return fmt.Errorf("assemble array: %w", err)
	}
	// Devices named one by one, and no --scan: then mdadm does not start an array that lacks a member it had when it last ran, unless
	// told --run.
	args := []string{"mdadm", "--assemble", nodePath, "--config=none", "--uuid=" + s.UUID}
	if s.Degraded() {
		args = append(args, "--run")
	}
	for _, d := range s.Disks {
		args = append(args, m.path(partitionName(d.Dev, memberNumber)))
	}
	if _, err := m.command(ctx, args...); err != nil {
		m.halt(ctx)
		return fmt.Errorf("assemble array: %w", err)
	}
	m.took(s.Disks)
	defer func() {
		if err != nil {
			m.halt(context.WithoutCancel(ctx))
		}
	}()
	if state := m.sysString(mdDir + "/array_state"); state == "" || state == "clear" || state == "inactive" {
		return fmt.Errorf("assemble array: it is %q: %w", state, array.ErrDegraded)
	}
	st := m.states()
	for _, d := range s.Disks {
		if got := st[d.Dev]; got != array.Active && got != array.Rebuilding {
			return fmt.Errorf("assemble array: disk %s in bay %d: %w", d.Dev, d.Bay, array.ErrDegraded)
		}
	}
	if err := m.check(ctx); err != nil {
		return err
	}
	return m.mount()
}

func (m *MD) took(disks []roles.Disk) {
	m.running, m.parts = true, map[string]string{}
	for _, d := range disks {
		m.parts[d.Dev] = partitionName(d.Dev, memberNumber)
	}
}

// check mends what can be mended without asking (e2fsck(8): exit status 0 clean, 1 and 2 mended, 4 and more not).
func (m *MD) check(ctx context.Context) error {
	_, err := m.command(ctx, "e2fsck", "-p", nodePath)
	if e := (*array.CommandError)(nil); errors.As(err, &e) {
		switch {
		case e.Exit > 0 && e.Exit < 4:
			m.cfg.Log.Warn("filesystem mended", "output", strings.TrimSpace(e.Output))
			return nil
		case e.Exit&4 != 0:
			return fmt.Errorf("%w: %w", array.ErrFilesystem, err)
		}
	}
	if err != nil {
		return fmt.Errorf("check filesystem: %w", err)
	}
	return nil
}

func (m *MD) mount() error {
	if err := os.MkdirAll(m.cfg.Mount, 0o755); err != nil {
		return fmt.Errorf("mount set: %w", err)
	}
	if err := unix.Mount(nodePath, m.cfg.Mount, "ext4", unix.MS_NOATIME|unix.MS_NODEV|unix.MS_NOSUID, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", nodePath, m.cfg.Mount, err)
	}
	return nil
}

func (m *MD) path(name string) string { return filepath.Join(m.dev, name) }

// zeroSuper removes an md superblock, if there is one.
func (m *MD) zeroSuper(ctx context.Context, part string) error {
	_, err := m.command(ctx, "mdadm", "--zero-superblock", part)
	if e := (*array.CommandError)(nil); errors.As(err, &e) && strings.Contains(e.Output, "Unrecognised md component device") {
		return nil
	}
	return err
}
