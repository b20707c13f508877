// Package fakemd stands for disks and arrays in the namespace lab, where there is no block device and no md. A bay is a directory with
// the files of a fake disk:
//
//	disk.json   {"serial", "model", "size"}
//	label       the raw label partition, as on a real disk
//	array       UUID of the array that it is a member of
//	unfinished  it is being made a member of the set whose UUID this is; it counts as blank
//	content     (put there by a test) what else is on the disk, in words
//	fault       (put there by a test) while it exists, the array drops the disk and its label cannot be written
//
// An array is one directory for all its members: the mirror is faked. What is not faked is everything that decides: labels,
// lost and returning members, the order of the steps. A disk that is rebuilt is ready at once.
package fakemd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/initsvc/storage/mounts"
	"sayasystems.com/atlas/roles"
)

// Config is what New needs. Bind and Unmount are replaced by tests that may not mount.
type Config struct {
	Bays    string // directory with one directory per bay that holds a disk, named by its number
	Arrays  string // directory with one directory per array, named by its UUID
	Mount   string // where a started array is mounted
	Bind    func(src, dst string) error
	Unmount func(ctx context.Context, dst string) error
}

// Fake is the fake disks and the running fake array. It is used by one goroutine at a time, but for Fingerprint.
type Fake struct {
	cfg Config

	mu      sync.Mutex
	running string            // UUID of the running array
	members map[string]string // device → serial
	bytes   uint64            // size of its smallest disk
}

// New returns the fake disks of a lab server.
func New(cfg Config) (*Fake, error) {
	if cfg.Bays == "" || cfg.Arrays == "" {
		return nil, errors.New("open fake disks: the handover names no fake_bays or fake_arrays")
	}
	if cfg.Bind == nil {
		cfg.Bind = mounts.Bind
	}
	if cfg.Unmount == nil {
		cfg.Unmount = func(ctx context.Context, dst string) error { return mounts.Unmount(ctx, dst, 10*time.Second) }
	}
	return &Fake{cfg: cfg}, nil
}

// disk is disk.json.
type disk struct {
	Serial string `json:"serial"`
	Model  string `json:"model"`
	Size   uint64 `json:"size"`
}

func readDisk(dir string) (disk, error) {
	var d disk
	data, err := os.ReadFile(filepath.Join(dir, "disk.json"))
	if err != nil {
		return d, fmt.Errorf("read fake disk: %w", err)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return d, fmt.Errorf("read fake disk %s: %w", dir, err)
	}
	return d, nil
}

// bays returns the numbers of the bays that hold a disk.
func (f *Fake) bays() []int {
	entries, err := os.ReadDir(f.cfg.Bays)
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 0 && exists(filepath.Join(f.cfg.Bays, e.Name(), "disk.json")) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func (f *Fake) dir(bay int) string { return filepath.Join(f.cfg.Bays, strconv.Itoa(bay)) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Fingerprint names the disks in the bays.
func (f *Fake) Fingerprint() string {
	var b strings.Builder
	for _, n := range f.bays() {
		d, err := readDisk(f.dir(n))
		fmt.Fprintf(&b, "%d=%s,%v,%t;", n, d.Serial, err, exists(filepath.Join(f.dir(n), "content")))
	}
	return b.String()
}

// Disks reads the disks in the bays.
func (f *Fake) Disks(context.Context) ([]roles.Disk, error) {
	if _, err := os.Stat(f.cfg.Bays); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read fake bays: %w", err)
	}
	var out []roles.Disk
	marks := map[string]string{}
	for _, n := range f.bays() {
		dir := f.dir(n)
		j, err := readDisk(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // pulled meanwhile
		}
		if err != nil {
			return nil, err
		}
		d := roles.Disk{Dev: dir, Bay: n, Serial: j.Serial, Model: j.Model, Size: j.Size}
		f.contents(dir, &d)
		if m, err := os.ReadFile(filepath.Join(dir, "unfinished")); err == nil {
			marks[dir] = strings.TrimSpace(string(m))
		}
		out = append(out, d)
	}
	array.Unfinished(out, marks)
	return out, nil
}

func (f *Fake) contents(dir string, d *roles.Disk) {
	if c, err := os.ReadFile(filepath.Join(dir, "content")); err == nil {
		d.Content = strings.TrimSpace(string(c))
		return
	}
	if a, err := os.ReadFile(filepath.Join(dir, "array")); err == nil {
		d.Array = strings.TrimSpace(string(a))
	}
	file, err := os.Open(filepath.Join(dir, "label"))
	if errors.Is(err, fs.ErrNotExist) {
		d.Blank = true
		return
	}
	if err != nil {
		d.LabelErr = err.Error()
		return
	}
	defer file.Close()
	l, err := roles.ReadLabel(file)
	if err != nil {
		d.LabelErr = err.Error()
		return
	}
	d.Label = &l
}

// WriteLabel writes a label.
func (f *Fake) WriteLabel(_ context.Context, d roles.Disk, l roles.Label) error {
	if err := f.check(d); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(d.Dev, "label"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("write label: %w", err)
	}
	defer file.Close()
	if err := file.Truncate(roles.PartitionSize); err != nil {
		return fmt.Errorf("write label: %w", err)
	}
	if err := roles.WriteLabel(file, l); err != nil {
		return fmt.Errorf("write label on %s: %w", d.Dev, err)
	}
	if err := os.Remove(filepath.Join(d.Dev, "unfinished")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write label on %s: %w", d.Dev, err)
	}
	return nil
}

// check tells whether the disk d is still there and works.
func (f *Fake) check(d roles.Disk) error {
	j, err := readDisk(d.Dev)
	if err != nil || j.Serial != d.Serial {
		return fmt.Errorf("disk %s (serial %s): %w", d.Dev, d.Serial, array.ErrGone)
	}
	if exists(filepath.Join(d.Dev, "fault")) {
		return fmt.Errorf("disk %s (serial %s): %w", d.Dev, d.Serial, unix.EIO)
	}
	return nil
}

// Release has nothing to release: no fake array outlives its server.
func (f *Fake) Release(context.Context, []roles.Disk) error { return nil }

// Prepare empties disks.
func (f *Fake) Prepare(_ context.Context, set string, disks ...roles.Disk) error {
	for _, d := range disks {
		if err := f.check(d); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(d.Dev, "unfinished"), []byte(set+"\n"), 0o600); err != nil {
			return fmt.Errorf("prepare %s: %w", d.Dev, err)
		}
		for _, name := range []string{"label", "array", "content"} {
			if err := os.Remove(filepath.Join(d.Dev, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("prepare %s: %w", d.Dev, err)
			}
		}
	}
	return nil
}

// Fits compares sizes as real disks would be.
func (f *Fake) Fits(d roles.Disk) error {
	const slack = 8 << 20
	if f.bytes > slack && d.Size < f.bytes-slack {
		return &array.TooSmallError{Dev: d.Dev, Have: d.Size, Need: f.bytes - slack}
	}
	return nil
}

// Create makes an array's directory.
func (f *Fake) Create(ctx context.Context, s array.Spec) error {
	dir := filepath.Join(f.cfg.Arrays, s.UUID)
	s.Say("making the fake array " + s.UUID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create fake array: %w", err)
	}
	for _, d := range s.Disks {
		if err := os.WriteFile(filepath.Join(d.Dev, "array"), []byte(s.UUID+"\n"), 0o600); err != nil {
			return fmt.Errorf("create fake array: %w", err)
		}
	}
	return f.Assemble(ctx, s)
}

// Assemble binds an array's directory.
func (f *Fake) Assemble(_ context.Context, s array.Spec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running != "" {
		return fmt.Errorf("assemble fake array %s: array %s runs: %w", s.UUID, f.running, array.ErrBusy)
	}
	dir := filepath.Join(f.cfg.Arrays, s.UUID)
	if !exists(dir) {
		return fmt.Errorf("assemble fake array %s: %w", s.UUID, fs.ErrNotExist)
	}
	members, size := map[string]string{}, uint64(0)
	for _, d := range s.Disks {
		if err := f.check(d); err != nil {
			return fmt.Errorf("assemble fake array %s: %w", s.UUID, err)
		}
		members[d.Dev] = d.Serial
		if size == 0 || d.Size < size {
			size = d.Size
		}
	}
	if err := os.MkdirAll(f.cfg.Mount, 0o755); err != nil {
		return fmt.Errorf("assemble fake array %s: %w", s.UUID, err)
	}
	if err := f.cfg.Bind(dir, f.cfg.Mount); err != nil {
		return fmt.Errorf("assemble fake array %s: %w", s.UUID, err)
	}
	f.running, f.members, f.bytes = s.UUID, members, size
	return nil
}

// Status looks which members are still there.
func (f *Fake) Status(context.Context) (array.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := array.Status{Members: map[string]array.State{}}
	if f.running == "" {
		return st, array.ErrNotStarted
	}
	for dev, serial := range f.members {
		switch err := f.check(roles.Disk{Dev: dev, Serial: serial}); {
		case err == nil:
			st.Members[dev] = array.Active
		case errors.Is(err, array.ErrGone):
			st.Members[dev] = array.Gone
		default:
			st.Members[dev] = array.Failed
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Join(f.cfg.Arrays, f.running), &fs); err == nil {
		st.Size, st.Free = fs.Blocks*uint64(fs.Bsize), fs.Bavail*uint64(fs.Bsize)
	}
	return st, nil
}

// Add makes a disk a member; it is in sync at once.
func (f *Fake) Add(_ context.Context, d roles.Disk) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == "" {
		return array.ErrNotStarted
	}
	if err := f.check(d); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.Dev, "array"), []byte(f.running+"\n"), 0o600); err != nil {
		return fmt.Errorf("add fake disk %s: %w", d.Dev, err)
	}
	f.members[d.Dev] = d.Serial
	return nil
}

// Remove forgets a member.
func (f *Fake) Remove(_ context.Context, d roles.Disk) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.members[d.Dev] == d.Serial {
		delete(f.members, d.Dev)
	}
	return nil
}

// Stop unmounts the array.
func (f *Fake) Stop(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == "" {
		return array.ErrNotStarted
	}
	unix.Sync()
	if err := f.cfg.Unmount(ctx, f.cfg.Mount); err != nil {
		return err
	}
	f.running, f.members, f.bytes = "", nil, 0
	return nil
}
