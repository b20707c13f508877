package tree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/storage/mounts"
)

// Bind binds the set's directories over the image's, with the generation of /etc that Prepare has made current, and then back over them what
// stays the image's. If one bind fails, those before it are undone.
func Bind(setDir, imageDir string) error {
	generation, err := os.Readlink(filepath.Join(setDir, layout.SetEtc, current))
	if err != nil {
		return fmt.Errorf("bind the set's /etc: %w", err)
	}
	if err := bindAt("/", setDir, imageDir, generation, mounts.Bind); err != nil {
		return errors.Join(err, Unbind())
	}
	return nil
}

func bindAt(root, setDir, imageDir, generation string, bind func(src, dst string) error) error {
	if err := bind(filepath.Join(setDir, layout.SetEtc, generation), filepath.Join(root, "etc")); err != nil {
		return err
	}
	for _, name := range data() {
		if err := bind(filepath.Join(setDir, name), filepath.Join(root, name)); err != nil {
			return err
		}
	}
	for _, p := range ours() {
		src := filepath.Join(imageDir, p)
		st, err := os.Stat(src)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("bind the image's /%s: %w", p, err)
		}
		dst := filepath.Join(root, p)
		if err := mountPoint(dst, st.IsDir()); err != nil {
			return fmt.Errorf("bind the image's /%s: %w", p, err)
		}
		if err := bind(src, dst); err != nil {
			return err
		}
	}
	return nil
}

// ours lists what stays the image's, relative to the root.
func ours() []string {
	var out []string
	for _, p := range layout.ImageInEtc() {
		out = append(out, filepath.Join("etc", p))
	}
	for _, p := range layout.ImageInVar() {
		out = append(out, filepath.Join("var", p))
	}
	return out
}

// mountPoint makes a file or directory to bind over.
func mountPoint(path string, dir bool) error {
	st, err := os.Lstat(path)
	if err == nil && st.IsDir() == dir && st.Mode()&os.ModeSymlink == 0 {
		return nil
	}
	if err == nil {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if dir {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// Unbind takes away what Bind has bound, and what was mounted below it since. Processes that still use it are waited for, for a short
// while, and named in the error.
func Unbind() error {
	points, err := mounts.Points()
	if err != nil {
		return fmt.Errorf("unbind the set: %w", err)
	}
	var errs []error
	for _, p := range unbindOrder("/", points) {
		if err := mounts.Unmount(context.Background(), p, 5*time.Second); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// unbindOrder picks from the mount points, which come in the order of mounting, those to unmount, last first.
func unbindOrder(root string, points []string) []string {
	var out []string
	for _, p := range slices.Backward(points) {
		for _, name := range append([]string{"etc"}, data()...) {
			if top := filepath.Join(root, name); p == top || strings.HasPrefix(p, top+"/") {
				out = append(out, p)
			}
		}
	}
	return out
}
