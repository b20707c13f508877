package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sayasystems.com/atlas/image/install/systemdisk"
	"sayasystems.com/atlas/image/siteconf"
)

// Files in the state directory besides siteconf's.
const (
	RootHashFile   = "root.hash"           // crypt(5) hash of root's password, for the console while no set is mounted
	AuthorizedKeys = "ssh/authorized_keys" // root's
	unfinishedFile = "unfinished.json"     // the mark, where there is no system disk to carry it
)

// ReadMark reads the mark of an unfinished installation from a state directory that stands for a system disk.
func ReadMark(stateDir string) (systemdisk.Mark, bool) {
	var m systemdisk.Mark
	data, err := os.ReadFile(filepath.Join(stateDir, unfinishedFile))
	if err != nil || json.Unmarshal(data, &m) != nil {
		return m, err == nil
	}
	return m, true
}

// checkState refuses a state directory that belongs to an installed server, unless the answers allow to erase it.
func (r *run) checkState() error {
	if _, unfinished := ReadMark(r.StateDir); unfinished || r.a.SystemDisk.Erase || !exists(r.StateDir, siteconf.ServerFile) {
		return nil
	}
	return Problems{{Key: "system_disk.erase", Text: "this server is installed already; to install it anew and lose its identity, erase its system disk"}}
}

// stateDir clears the directory that stands for a system disk, and marks it.
func (r *run) stateDir(context.Context) error {
	r.say("clearing the state directory")
	r.mark = systemdisk.Mark{Server: r.a.Server, Begun: r.Now().UTC()}
	if err := r.writeMark(); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.StateDir)
	if err != nil {
		return fmt.Errorf("clear state: %w", err)
	}
	for _, e := range entries {
		if e.Name() == unfinishedFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(r.StateDir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clear state: %w", err)
		}
	}
	return nil
}

// writeMark records r.mark on the system disk or what stands for it.
func (r *run) writeMark() error {
	if !r.NoSystemDisk {
		return r.System.SetMark(r.plan.System.Dev, r.mark)
	}
	data, err := json.Marshal(r.mark)
	if err != nil {
		return fmt.Errorf("mark state: %w", err)
	}
	return siteconf.WriteFile(filepath.Join(r.StateDir, unfinishedFile), data, 0o600)
}
