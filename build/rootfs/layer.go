package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"

	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/toolsroot"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/manifest"
	"sayasystems.com/atlas/image/pack"
)

// Entry is one file or link of ATLAS's own over the Debian tree.
type Entry struct {
	Path string      // absolute, in the image
	From string      // file to copy; or
	Data []byte      // its content; or
	Link string      // target of a symbolic link
	Mode fs.FileMode // permissions of a file
}

// Layer is everything that is laid over a Debian tree.
type Layer []Entry

// Packs adds the folders of service packs, and the files that they put over those of the packages.
func (l Layer) Packs(packs []pack.Pack) (Layer, error) {
	for _, p := range packs {
		err := filepath.WalkDir(p.Dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(p.Dir, name)
			if err != nil {
				return err
			}
			mode := fs.FileMode(0o644)
			if st, err := d.Info(); err == nil && st.Mode()&0o100 != 0 {
				mode = 0o755
			}
			l = append(l, Entry{Path: filepath.Join(layout.PacksDir, p.Name, rel), From: name, Mode: mode})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", p.Name, err)
		}
		for _, f := range p.Files {
			if f.Template { // init writes it where the pack runs; unexpanded it would only mislead
				continue
			}
			mode := fs.FileMode(0o644)
			if f.Mode != "" {
				n, err := strconv.ParseUint(f.Mode, 8, 12)
				if err != nil {
					return nil, fmt.Errorf("pack %s: mode %q of %s: %w", p.Name, f.Mode, f.To, err)
				}
				mode = fs.FileMode(n)
			}
			l = append(l, Entry{Path: f.To, From: filepath.Join(p.Dir, f.From), Mode: mode})
		}
	}
	return l, nil
}

// Key identifies the layer by the content of its files.
func (l Layer) Key() (string, error) {
	l = append(Layer(nil), l...)
	sort.SliceStable(l, func(i, j int) bool { return l[i].Path < l[j].Path })
	parts := make([]string, 0, len(l))
	for _, e := range l {
		sum := cache.Key(string(e.Data))
		if e.From != "" {
			var err error
			if sum, err = manifest.SumFile(e.From); err != nil {
				return "", err
			}
		}
		parts = append(parts, fmt.Sprint(e.Path, " ", e.Mode, " ", e.Link, " ", sum))
	}
	return cache.Key(parts...), nil
}

// apply writes the layer into a tree whose files may be hard links to a kept one: nothing is ever opened for writing, only
// removed and made anew.
func (l Layer) apply(root string) error {
	for _, e := range l {
		to := filepath.Join(root, e.Path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("lay %s: %w", e.Path, err)
		}
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("lay %s: %w", e.Path, err)
		}
		if e.Link != "" {
			if err := os.Symlink(e.Link, to); err != nil {
				return fmt.Errorf("lay %s: %w", e.Path, err)
			}
			continue
		}
		data := e.Data
		if e.From != "" {
			var err error
			if data, err = os.ReadFile(e.From); err != nil {
				return fmt.Errorf("lay %s: %w", e.Path, err)
			}
		}
		if err := os.WriteFile(to, data, e.Mode); err != nil {
			return fmt.Errorf("lay %s: %w", e.Path, err)
		}
		if err := os.Chmod(to, e.Mode); err != nil { // whatever the umask
			return fmt.Errorf("lay %s: %w", e.Path, err)
		}
	}
	return nil
}

// Pack lays the layer over the tree and makes one squashfs of both in out. Times are all the tree's date, so that only content
// makes a difference.
func Pack(ctx context.Context, tools toolsroot.Root, t Tree, l Layer, level int, out string) (err error) {
	work, err := os.MkdirTemp(filepath.Dir(filepath.Dir(t.Dir)), "pack-") // beside the tree, as hard links need one file system
	if err != nil {
		return fmt.Errorf("pack root: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	root := filepath.Join(work, "root")
	if err := tools.Run(ctx, "cp", "-al", t.Dir, root); err != nil {
		return fmt.Errorf("pack root: %w", err)
	}
	if err := l.apply(root); err != nil {
		return err
	}
	if err := os.Remove(out); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pack root: %w", err)
	}
	date := strconv.FormatInt(t.Date.Unix(), 10)
	if err := tools.Run(ctx, "mksquashfs", root, out,
		"-comp", "zstd", "-Xcompression-level", strconv.Itoa(level), "-b", "128K", "-reproducible", "-mkfs-time", date, "-all-time", date,
		"-no-progress", "-quiet", "-xattrs"); err != nil {
		return fmt.Errorf("pack root: %w", err)
	}
	return nil
}
