package rootfs

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/layout"
)

// Older makes the layer of a small root with the programs of an older release that bring its data forward (initsvc/upgrade): PostgreSQL's
// server with its modules, the libraries that they need, and the loader that goes with these. tree is a Debian tree of that release, which
// has the packages; mounts are the directories to which data are bound. bytes is what the files take.
func Older(tree, release string, mounts []string) (l Layer, bytes int64, err error) {
	o := older{tree: tree, to: filepath.Join(layout.OlderDir, release), have: map[string]bool{}}
	servers, err := filepath.Glob(filepath.Join(tree, "usr/lib/postgresql/*"))
	if err != nil || len(servers) != 1 {
		return nil, 0, fmt.Errorf("programs of Debian %s: %d versions of PostgreSQL's server in its tree; one is needed: %w", release, len(servers), err)
	}
	version := filepath.Base(servers[0])
	lib := "usr/lib/postgresql/" + version
	if err := o.file(lib + "/bin/postgres"); err != nil {
		return nil, 0, err
	}
	for _, dir := range []string{lib + "/lib", "usr/share/postgresql/" + version + "/timezonesets", "usr/share/postgresql/" + version + "/tsearch_data", "usr/lib/locale"} {
		if err := o.dir(dir); err != nil {
			return nil, 0, err
		}
	}
	if err := o.loader(); err != nil {
		return nil, 0, err
	}
	for _, link := range []string{"lib", "lib64"} {
		o.layer = append(o.layer, Entry{Path: filepath.Join(o.to, link), Link: "usr/" + link})
	}
	for _, dir := range append([]string{"/dev", "/tmp", "/usr/share/zoneinfo"}, mounts...) {
		o.layer = append(o.layer, Entry{Path: filepath.Join(o.to, dir, ".place"), Mode: 0o644}) // something is mounted here
	}
	return o.layer, o.bytes, nil
}

type older struct {
	tree, to string
	layer    Layer
	have     map[string]bool // paths relative to the tree
	bytes    int64
}

// dir adds all files below a directory.
func (o *older) dir(dir string) error {
	return filepath.WalkDir(filepath.Join(o.tree, dir), func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(o.tree, name)
		if err != nil {
			return err
		}
		if strings.Contains(rel, "llvmjit") || strings.Contains(rel, "/bitcode/") {
			return nil
		}
		return o.file(rel)
	})
}

// file adds a file, a link's target under the link's name, and the libraries that it asks for.
func (o *older) file(rel string) error {
	if o.have[rel] {
		return nil
	}
	o.have[rel] = true
	from, err := o.resolve(rel, 0)
	if err != nil {
		return fmt.Errorf("programs of the older release: %w", err)
	}
	st, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("programs of the older release: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil
	}
	o.layer = append(o.layer, Entry{Path: filepath.Join(o.to, rel), From: from, Mode: st.Mode().Perm()})
	o.bytes += st.Size()
	f, err := elf.Open(from)
	if err != nil {
		return nil //nolint:nilerr // no program: a table, a locale
	}
	needed, err := f.ImportedLibraries()
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("libraries of %s: %w", rel, err)
	}
	for _, n := range needed {
		found := false
		for _, dir := range []string{"usr/lib/x86_64-linux-gnu", "usr/lib"} {
			if _, err := o.resolve(filepath.Join(dir, n), 0); err == nil {
				found = true
				if err := o.file(filepath.Join(dir, n)); err != nil {
					return err
				}
				break
			}
		}
		if !found {
			return fmt.Errorf("%s asks for the library %s, which is not in the tree of the older release", rel, n)
		}
	}
	return nil
}

// loader adds what the kernel starts programs with, at the place that is written in them.
func (o *older) loader() error {
	const rel = "usr/lib64/ld-linux-x86-64.so.2"
	if _, err := o.resolve(rel, 0); err != nil {
		return fmt.Errorf("loader of the older release: %w", err)
	}
	return o.file(rel)
}

// resolve follows links inside the tree.
func (o *older) resolve(rel string, depth int) (string, error) {
	if depth > 20 {
		return "", fmt.Errorf("%s: links go in a circle", rel)
	}
	parts := strings.Split(strings.Trim(filepath.Clean(rel), "/"), "/")
	for i := range parts {
		at := filepath.Join(parts[:i+1]...)
		st, err := os.Lstat(filepath.Join(o.tree, at))
		if err != nil {
			return "", err
		}
		if st.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		to, err := os.Readlink(filepath.Join(o.tree, at))
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join("/", filepath.Dir(at), to)
		}
		return o.resolve(filepath.Join(append([]string{to}, slices.Clone(parts[i+1:])...)...), depth+1)
	}
	return filepath.Join(o.tree, rel), nil
}
