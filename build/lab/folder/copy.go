package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Copy copies a file without taking more room than needed: it shares the blocks where the filesystem can, else it leaves the
// holes out.
func Copy(ctx context.Context, from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer src.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	tmp := to + ".new"
	dst, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	defer os.Remove(tmp)
	defer dst.Close()
	if err := unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())); err != nil {
		if err := sparse(ctx, src, dst); err != nil {
			return fmt.Errorf("copy %s to %s: %w", from, to, err)
		}
	}
	if err := dst.Close(); err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	if err := os.Rename(tmp, to); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return nil
}

func sparse(ctx context.Context, src, dst *os.File) error {
	st, err := src.Stat()
	if err != nil {
		return err
	}
	if err := dst.Truncate(st.Size()); err != nil {
		return err
	}
	for at := int64(0); at < st.Size(); {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		data, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // nothing but a hole to the end
			return nil
		}
		if err != nil {
			return err
		}
		hole, err := unix.Seek(int(src.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := src.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := dst.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(dst, src, hole-data); err != nil {
			return err
		}
		at = hole
	}
	return nil
}

// parts of a lab that make up its state while all servers are off.
func parts() []string { return []string{"lab.json", "servers", "shelf", "arrays", "ssh", "stick"} }

// Snapshot copies the lab's state, all servers being off, to a directory that is not there yet. The image is shared by a hard link
// where that is possible.
func (f Folder) Snapshot(ctx context.Context, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("snapshot %s is there already; choose another name or remove it", to)
	}
	tmp := to + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	if err := f.copyState(ctx, f.Dir, tmp); err != nil {
		return fmt.Errorf("save snapshot %s: %w", to, err)
	}
	if err := os.Rename(tmp, to); err != nil {
		return fmt.Errorf("save snapshot %s: %w", to, err)
	}
	return nil
}

// Restore replaces the lab's state, all servers being off, by a snapshot's. Where there is no lab yet, it makes one.
func (f Folder) Restore(ctx context.Context, from string) error {
	if _, err := os.Stat(filepath.Join(from, "lab.json")); err != nil {
		return fmt.Errorf("no snapshot at %s: %w", from, err)
	}
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	for _, p := range parts() {
		if err := os.RemoveAll(f.path(p)); err != nil {
			return fmt.Errorf("restore snapshot: %w", err)
		}
	}
	if err := f.copyState(ctx, from, f.Dir); err != nil {
		return fmt.Errorf("restore snapshot %s: %w", from, err)
	}
	return nil
}

func (f Folder) copyState(ctx context.Context, from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, p := range parts() {
		if _, err := os.Lstat(filepath.Join(from, p)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		// cp(1) knows owners, links, device files, extended attributes and holes.
		out, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", "--sparse=always", filepath.Join(from, p), filepath.Join(to, p)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("copy %s: %w: %s", p, err, out)
		}
	}
	images, err := filepath.Glob(filepath.Join(from, "image", "*"))
	if err != nil {
		return err
	}
	for _, img := range images {
		there := filepath.Join(to, "image", filepath.Base(img))
		if _, err := os.Stat(there); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(there), 0o755); err != nil {
			return err
		}
		if os.Link(img, there) == nil {
			continue
		}
		if err := Copy(ctx, img, there); err != nil {
			return err
		}
	}
	return nil
}

// own lists all that a lab puts into its folder. lab.json goes last: a removal that was interrupted can be repeated.
func own() []string {
	return append(slices.DeleteFunc(parts(), func(p string) bool { return p == "lab.json" }),
		"image", "stick.img", "tmp", "client", "locks", "run", "snapshots", making, "lab.json")
}

// making marks a folder whose lab is not finished.
const making = "lab.making"

// Begin prepares the folder for a new lab: what an unfinished one has left is removed, what is not a lab's is not touched.
func (f Folder) Begin() error {
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return fmt.Errorf("make lab: %w", err)
	}
	mark := f.path(making)
	_, err := os.Lstat(mark)
	unfinished := err == nil
	for _, p := range own() {
		if _, err := os.Lstat(f.path(p)); err != nil || p == making {
			continue
		}
		if !unfinished {
			return fmt.Errorf("%s is there already and belongs to no lab; choose another folder with --dir", f.path(p))
		}
		if err := os.RemoveAll(f.path(p)); err != nil {
			return fmt.Errorf("make lab: remove what an unfinished one has left: %w", err)
		}
	}
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		return fmt.Errorf("make lab: %w", err)
	}
	return nil
}

// Finish makes it a lab.
func (f Folder) Finish(l Lab) error {
	if err := f.Save(l); err != nil {
		return err
	}
	if err := os.Remove(f.path(making)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make lab: %w", err)
	}
	return nil
}

// Remove removes the lab with all that belongs to it, and the directory if nothing else is in it.
func (f Folder) Remove() error {
	if _, err := f.Load(); err != nil {
		return err
	}
	for _, p := range own() {
		if err := os.RemoveAll(f.path(p)); err != nil {
			return fmt.Errorf("remove lab %s: %w", f.Dir, err)
		}
	}
	if err := os.Remove(f.Dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove lab %s: %w", f.Dir, err)
	}
	return nil
}

// SnapshotPath is where a snapshot lies: a name inside the lab, or a path of its own to share it between labs.
func (f Folder) SnapshotPath(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return f.path("snapshots", name)
}
