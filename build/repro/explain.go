package repro

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"sayasystems.com/atlas/build/toolsroot"
	"sayasystems.com/atlas/image/gpt"
	"sayasystems.com/atlas/image/layout"
)

// explain unpacks the roots of two images and names the first file that differs, since an offset into a compressed file system
// helps nobody. It returns "" if the roots are the same.
func explain(ctx context.Context, tools toolsroot.Root, work, a, b string) (string, error) {
	var dirs [2]string
	for i, image := range []string{a, b} {
		dirs[i] = filepath.Join(work, fmt.Sprintf("root%d", i+1))
		if err := unpack(ctx, tools, image, dirs[i]); err != nil {
			return "", err
		}
	}
	return FirstDifference(dirs[0], dirs[1])
}

func unpack(ctx context.Context, tools toolsroot.Root, image, dir string) error {
	f, err := os.Open(image)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", image, err)
	}
	defer f.Close()
	parts, err := gpt.Read(f, 0, 512)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", image, err)
	}
	p, ok := gpt.Find(parts, layout.InstallRoot)
	if !ok {
		return fmt.Errorf("unpack %s: no partition %s", image, layout.InstallRoot)
	}
	return tools.Run(ctx, "unsquashfs", "-q", "-n", "-o", fmt.Sprint(p.Start), "-d", dir, image)
}

var errFound = errors.New("found")

// FirstDifference names the first path, in lexical order, that is not the same in two trees, and what differs; "" if none.
func FirstDifference(a, b string) (string, error) {
	found := ""
	say := func(rel, what string) error {
		found = "/" + rel + ": " + what
		return errFound
	}
	err := filepath.WalkDir(a, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(a, p)
		if err != nil {
			return err
		}
		sa, err := os.Lstat(p)
		if err != nil {
			return err
		}
		sb, err := os.Lstat(filepath.Join(b, rel))
		if errors.Is(err, fs.ErrNotExist) {
			return say(rel, "only in the first")
		}
		if err != nil {
			return err
		}
		oa, ob := sa.Sys().(*syscall.Stat_t), sb.Sys().(*syscall.Stat_t)
		switch {
		case sa.Mode() != sb.Mode():
			return say(rel, fmt.Sprintf("mode %s and %s", sa.Mode(), sb.Mode()))
		case oa.Uid != ob.Uid || oa.Gid != ob.Gid:
			return say(rel, fmt.Sprintf("owner %d:%d and %d:%d", oa.Uid, oa.Gid, ob.Uid, ob.Gid))
		case d.IsDir():
			return more(rel, p, filepath.Join(b, rel), say)
		case sa.Mode()&fs.ModeSymlink != 0:
			la, ea := os.Readlink(p)
			lb, eb := os.Readlink(filepath.Join(b, rel))
			if la != lb {
				return say(rel, fmt.Sprintf("links to %s and %s", la, lb))
			}
			return errors.Join(ea, eb)
		case sa.Mode().IsRegular():
			var diff *DifferentError
			if err := Compare(p, filepath.Join(b, rel)); errors.As(err, &diff) {
				return say(rel, fmt.Sprintf("content differs from byte %d on: %q and %q", diff.Offset, peek(diff.A, diff.Offset), peek(diff.B, diff.Offset)))
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("compare trees: %w", err)
	}
	return found, nil
}

// more finds entries of a directory that only the second tree has.
func more(rel, a, b string, say func(rel, what string) error) error {
	list, err := os.ReadDir(b)
	if err != nil {
		return err
	}
	for _, e := range list {
		if _, err := os.Lstat(filepath.Join(a, e.Name())); errors.Is(err, fs.ErrNotExist) {
			return say(filepath.Join(rel, e.Name()), "only in the second")
		}
	}
	return nil
}

// peek returns a few bytes from an offset on.
func peek(name string, at int64) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, 48)
	n, err := f.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return bytes.TrimRight(b[:n], "\x00")
}
