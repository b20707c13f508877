package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/dataform"
)

// recordFile is in the set's directory layout.SetForms, which only root may enter.
const recordFile = "record.json"

func (k *Keeper) dir() string { return filepath.Join(k.o.Set, layout.SetForms) }

// host is where a path of data, as the running system sees it, is on the set. A rename needs both names in one mount: that of the set.
func (k *Keeper) host(path string) string {
	if path == "" || strings.HasPrefix(path, k.dir()+"/") {
		return path
	}
	return filepath.Join(k.o.Set, path)
}

// keptDir is where the copy of data that are changed in place lies.
func (j job) keptDir(form int) string {
	name := j.service
	if len(j.f.Path) > 0 {
		name += "-" + filepath.Base(j.f.Path)
	}
	return filepath.Join(j.dir(), fmt.Sprintf("%s-%d", name, form))
}

// load reads the record; a set without one has none of any data.
func (k *Keeper) load() (*dataform.Record, error) {
	rec := &dataform.Record{Format: dataform.RecordFormat, Data: map[string]*dataform.Entry{}}
	name := filepath.Join(k.dir(), recordFile)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return rec, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of data's forms: %w", err)
	}
	if err := json.Unmarshal(data, rec); err != nil {
		return nil, &adviceError{
			text: fmt.Sprintf("the record of data's forms, %s, is damaged: %v", name, err),
			next: "Look which data are in use, and move the file away: then the data that lie there count.",
		}
	}
	if rec.Format != dataform.RecordFormat {
		return nil, &adviceError{
			text: fmt.Sprintf("the record of data's forms, %s, was written by a newer version of ATLAS (format %d)", name, rec.Format),
			next: "Update this server, or put these disks into one that is as new as the last that ran them.",
		}
	}
	if rec.Data == nil {
		rec.Data = map[string]*dataform.Entry{}
	}
	return rec, nil
}

// save writes the record so that it is there whole, the old or the new one.
func (k *Keeper) save(rec *dataform.Record) error {
	data, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return fmt.Errorf("write the record of data's forms: %w", err)
	}
	dir := k.dir()
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write the record of data's forms: %w", err)
	} else if err == nil {
		if err := syncDir(k.o.Set); err != nil {
			return err
		}
	}
	name := filepath.Join(dir, recordFile)
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the record of data's forms: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the record of data's forms: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("write the record of data's forms: %w", err)
	}
	return syncDir(dir)
}

// size is what a tree takes on disk, in bytes. What vanishes meanwhile counts nothing.
func size(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		st, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			sum += sys.Blocks * 512
		}
		return nil
	})
	return sum, err
}

// free is what a file system has for services, in bytes.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("space on the disk set: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// Need is how much room bringing data of a kind and size forward takes. Text and indexes of PostgreSQL's tables become what they were, at most;
// its journal comes on top.
func Need(kind string, bytes int64) int64 {
	if kind == dataform.Copy {
		return bytes + bytes/50 + 64<<20
	}
	return bytes + bytes/10 + 512<<20
}

func (j job) space(bytes int64) error {
	have, err := j.o.Free(j.o.Set)
	if err != nil {
		return err
	}
	if need := Need(j.f.Kind, bytes); have < need {
		return &adviceError{
			text: fmt.Sprintf("it takes %s of room on the disk set, of which %s are free", dataform.Size(need), dataform.Size(have)),
			next: fmt.Sprintf("Make %s of room, then: atlas service start %s. Or put these disks back into a server with the older release.", dataform.Size(need-have), j.service),
		}
	}
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// syncFS makes everything on the file system of path durable.
func syncFS(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", path, err)
	}
	return nil
}
