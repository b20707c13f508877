// Package process remembers the background processes that the lab has started, so that later commands, which are other
// processes, can tell whether they still run and end them. A process is known by its PID and its start time, and is signalled
// through a pidfd: a PID that the kernel has given to somebody else meanwhile is never touched. It starts nothing itself.
package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ID names one process for its whole life. The zero ID is a process that does not run.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot, proc_pid_stat(5) field 22
	Name  string `json:"name"`
}

// Of returns the ID of a running process. name is for people.
func Of(pid int, name string) (ID, error) {
	_, start, err := stat(pid)
	if err != nil {
		return ID{}, fmt.Errorf("identify %s (process %d): %w", name, pid, err)
	}
	return ID{PID: pid, Start: start, Name: name}, nil
}

// Alive tells whether the process still runs. A zombie does not.
func (i ID) Alive() bool {
	if i.PID <= 0 {
		return false
	}
	state, start, err := stat(i.PID)
	return err == nil && start == i.Start && state != 'Z' && state != 'X'
}

// Signal sends sig. A process that has ended already is no error.
func (i ID) Signal(sig syscall.Signal) error {
	if i.PID <= 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(i.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signal %s (process %d): %w", i.Name, i.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	// The pidfd holds this process fast, so the start time now read is the one of the process that will be signalled.
	if !i.Alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %s (process %d): %w", i.Name, i.PID, err)
	}
	return nil
}

// Wait waits until the process has ended.
func (i ID) Wait(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i.Alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of %s (process %d): %w", i.Name, i.PID, context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}

// Kill ends the process at once and waits until it is gone.
func (i ID) Kill(ctx context.Context) error {
	if err := i.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	return i.Wait(ctx)
}

// Save writes the ID to a file.
func (i ID) Save(path string) error {
	data, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("record %s: %w", i.Name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("record %s: %w", i.Name, err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("record %s: %w", i.Name, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("record %s: %w", i.Name, err)
	}
	return nil
}

// Load reads an ID from a file. No file is the zero ID.
func Load(path string) (ID, error) {
	var i ID
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return i, nil
	}
	if err != nil {
		return i, fmt.Errorf("read process record: %w", err)
	}
	if err := json.Unmarshal(data, &i); err != nil {
		return i, fmt.Errorf("read process record %s: %w", path, err)
	}
	return i, nil
}

// stat returns state and start time from /proc/PID/stat. The command's name in it may hold anything, so fields are counted
// from its last closing parenthesis.
func stat(pid int) (state byte, start uint64, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("no such process: %w", err)
	}
	at := bytes.LastIndexByte(data, ')')
	if at < 0 {
		return 0, 0, fmt.Errorf("process %d: cannot read its stat line", pid)
	}
	f := bytes.Fields(data[at+1:])
	if len(f) < 20 {
		return 0, 0, fmt.Errorf("process %d: cannot read its stat line", pid)
	}
	start, err = strconv.ParseUint(string(f[19]), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("process %d: start time: %w", pid, err)
	}
	return f[0][0], start, nil
}
