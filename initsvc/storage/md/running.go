package md

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/initsvc/storage/mounts"
	"sayasystems.com/atlas/roles"
)

const mdDir = "block/" + node + "/md"

func (m *MD) exists(path string) bool {
	_, err := os.Stat(filepath.Join(m.sys, path))
	return err == nil
}

// sysString reads a file in sysfs, "" if it is not there.
func (m *MD) sysString(path string) string {
	b, _ := os.ReadFile(filepath.Join(m.sys, path))
	return strings.TrimSpace(string(b))
}

func (m *MD) sysNumber(path string) uint64 {
	n, _ := strconv.ParseUint(m.sysString(path), 10, 64)
	return n
}

// states reads what the running array says of each of its disks.
func (m *MD) states() map[string]array.State {
	out := map[string]array.State{}
	for dev, part := range m.parts {
		here := m.exists("class/block/" + part)
		state := m.sysString(mdDir + "/dev-" + part + "/state")
		switch {
		case !here:
			out[dev] = array.Gone
		case state == "" || strings.Contains(state, "faulty"):
			out[dev] = array.Failed
		case strings.Contains(state, "in_sync"):
			out[dev] = array.Active
		default:
			out[dev] = array.Rebuilding
		}
	}
	return out
}

// Status implements the store's hands.
func (m *MD) Status(context.Context) (array.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running {
		return array.Status{}, array.ErrNotStarted
	}
	st := array.Status{
		Members: m.states(),
		Work:    work(m.sysString(mdDir+"/sync_action"), m.sysString(mdDir+"/sync_completed"), m.sysNumber(mdDir+"/sync_speed")),
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(m.cfg.Mount, &fs); err == nil {
		st.Size, st.Free = fs.Blocks*uint64(fs.Bsize), fs.Bavail*uint64(fs.Bsize)
	}
	return st, nil
}

// work says what the array is busy with. completed is "sectors / sectors" or "none"; speed is KiB a second.
func work(action, completed string, speed uint64) string {
	name := map[string]string{"recover": "rebuilding", "resync": "synchronising", "check": "checking", "repair": "checking"}[action]
	if name == "" {
		return ""
	}
	a, b, _ := strings.Cut(completed, "/")
	done, err1 := strconv.ParseUint(strings.TrimSpace(a), 10, 64)
	all, err2 := strconv.ParseUint(strings.TrimSpace(b), 10, 64)
	if err1 != nil || err2 != nil || all == 0 || done > all {
		return name
	}
	s := fmt.Sprintf("%s %d %%", name, done*100/all)
	if speed > 0 {
		left := time.Duration((all-done)/2/speed) * time.Second
		switch {
		case left > 90*time.Minute:
			s += fmt.Sprintf(" (%.0f h left)", left.Hours())
		case left > 90*time.Second:
			s += fmt.Sprintf(" (%.0f min left)", left.Minutes())
		}
	}
	return s
}

// Add implements the store's hands. The disk never comes back with what it had: an md that finds the old superblock takes over old data.
func (m *MD) Add(ctx context.Context, d roles.Disk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running {
		return array.ErrNotStarted
	}
	part := partitionName(d.Dev, memberNumber)
	if err := m.zeroSuper(ctx, m.path(part)); err != nil {
		return fmt.Errorf("add %s: %w", d.Dev, err)
	}
	if _, err := m.command(ctx, "mdadm", nodePath, "--add", m.path(part)); err != nil {
		return fmt.Errorf("add %s: %w", d.Dev, err)
	}
	m.parts[d.Dev] = part
	return nil
}

// Remove implements the store's hands.
func (m *MD) Remove(ctx context.Context, d roles.Disk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	part, ok := m.parts[d.Dev]
	if !ok {
		return nil
	}
	delete(m.parts, d.Dev)
	dir := mdDir + "/dev-" + part
	state := filepath.Join(m.sys, dir, "state")
	var last error
	err := m.until(ctx, part+" to leave the array", func() bool {
		if !m.exists(dir) {
			return true
		}
		if !strings.Contains(m.sysString(dir+"/state"), "faulty") {
			last = os.WriteFile(state, []byte("faulty"), 0)
		} else {
			last = os.WriteFile(state, []byte("remove"), 0)
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("remove %s from the array: %w", d.Dev, errors.Join(err, last))
	}
	return nil
}

// Stop implements the store's hands.
func (m *MD) Stop(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running {
		return array.ErrNotStarted
	}
	unix.Sync()
	if err := mounts.Unmount(ctx, m.cfg.Mount, 10*time.Second); err != nil {
		// What is on it can at least be made whole: after this nobody writes any more.
		if roErr := unix.Mount("", m.cfg.Mount, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); roErr != nil {
			err = errors.Join(err, fmt.Errorf("make it read-only: %w", roErr))
		}
		unix.Sync()
		return err
	}
	if err := m.stopArray(ctx, node); err != nil {
		return err
	}
	m.running, m.parts = false, map[string]string{}
	return nil
}

// halt stops what a failed start has left.
func (m *MD) halt(ctx context.Context) {
	if err := mounts.Unmount(ctx, m.cfg.Mount, time.Second); err != nil {
		m.cfg.Log.Error("cannot unmount after a failed start", "error", err)
	}
	if err := m.stopArray(ctx, node); err != nil {
		m.cfg.Log.Error("cannot stop the array after a failed start", "error", err)
	}
	m.running, m.parts = false, map[string]string{}
}

// stopArray stops an array, if it is there, however far it was started.
func (m *MD) stopArray(ctx context.Context, name string) error {
	gone := func() bool {
		s := m.sysString("block/" + name + "/md/array_state")
		return s == "" || s == "clear"
	}
	var last error
	err := m.until(ctx, name+" to stop", func() bool {
		if gone() {
			return true
		}
		_, last = m.command(ctx, "mdadm", "--stop", m.path(name))
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("stop array %s: %w", name, errors.Join(err, last))
	}
	return nil
}

// Release implements the store's hands.
func (m *MD) Release(ctx context.Context, disks []roles.Disk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.release(ctx, disks)
}

// release stops every array but the running one that uses one of the disks.
func (m *MD) release(ctx context.Context, disks []roles.Disk) error {
	arrays, _ := filepath.Glob(filepath.Join(m.sys, "block/md*/slaves/*"))
	for _, slave := range arrays {
		name := filepath.Base(filepath.Dir(filepath.Dir(slave)))
		if m.running && name == node {
			continue
		}
		for _, d := range disks {
			if m.wholeDisk(filepath.Base(slave)) != filepath.Base(d.Dev) {
				continue
			}
			if name == node {
				if err := mounts.Unmount(ctx, m.cfg.Mount, 5*time.Second); err != nil {
					return err
				}
			}
			if err := m.stopArray(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}
