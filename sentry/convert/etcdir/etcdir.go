// Package etcdir reads what package convert works on from directories: what an image ships below /etc, and what a generation of /etc holds.
//
// Data flow: directory → snapshot (entries, owners by the names of the directory's own passwd) → convert.Stock, convert.Tree → convert.Meet.
// The Synchronizer reads its image so, and init both images and the set. Content is read only of files that people have changed.
//
// It writes nothing and decides nothing about what is shared between servers.
package etcdir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Dir is a directory that stands for an /etc, whatever its name.
type Dir struct {
	Path    string
	MaxFile int64 // larger files are left out; 0: snapshot's own limit
	// Shared tells what is looked at, by its path on a server: "etc/passwd".
	Shared func(state.Path) bool
}

// Odd are paths that cannot be taken in, and why: FIFOs, too large files.
type Odd map[state.Path]error

// Release is the number of the Debian release whose files are in an image's /etc, 0 if they do not tell.
func Release(etc string) (int, error) {
	text, err := os.ReadFile(filepath.Join(etc, "debian_version"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("release of Debian: %w", err)
	}
	number, _, _ := strings.Cut(strings.TrimSpace(string(text)), ".")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 {
		return 0, nil //nolint:nilerr // "forky/sid": no release
	}
	return n, nil
}

// Stock reads what an image ships.
func (d Dir) Stock(ctx context.Context, release int, image string) (convert.Stock, Odd, error) {
	s := convert.Stock{Release: release, Image: image, Files: map[state.Path]state.Entry{}, Accounts: map[state.Path][]byte{}}
	odd, err := d.scan(ctx, func(p state.Path, entry state.Entry, content func() ([]byte, error)) error {
		if convert.IsAccounts(p) && entry.Kind == state.File {
			text, err := content()
			if err != nil {
				return err
			}
			s.Accounts[p] = text
		}
		s.Files[p] = entry
		return nil
	})
	if err != nil {
		return s, odd, fmt.Errorf("look at what the image ships: %w", err)
	}
	return s, odd, nil
}

// Tree reads a generation that was made with an image that ships stock. kept is of the conversion that made it, nil if there was none.
func (d Dir) Tree(ctx context.Context, stock convert.Stock, kept *convert.Kept) (*convert.Tree, Odd, error) {
	files := map[state.Path]convert.File{}
	odd, err := d.scan(ctx, func(p state.Path, entry state.Entry, content func() ([]byte, error)) error {
		f := convert.File{Entry: entry}
		if was, ok := stock.Files[p]; entry.Kind == state.File && (!ok || !was.Equal(entry) || kept.Made(p, entry)) {
			var err error
			if f.Data, err = content(); err != nil {
				return err
			}
		}
		files[p] = f
		return nil
	})
	if err != nil {
		return nil, odd, fmt.Errorf("look at the configuration: %w", err)
	}
	return convert.NewTree(files), odd, nil
}

// scan hands on each entry, under its path on a server. What cannot be taken in is odd.
func (d Dir) scan(ctx context.Context, take func(state.Path, state.Entry, func() ([]byte, error)) error) (Odd, error) {
	odd := Odd{}
	t, err := snapshot.Open(filepath.Dir(d.Path), snapshot.Options{MaxFile: d.MaxFile, Names: snapshot.NamesIn(d.Path)})
	if err != nil {
		return odd, err
	}
	defer func() { _ = t.Close() }()
	root := state.Path(filepath.Base(d.Path))
	for item, err := range t.Scan(ctx, []state.Path{root}, snapshot.ScanOptions{Skip: func(p state.Path) bool { return !d.Shared(named(root, p)) }}) {
		if item.Path == "" && err != nil {
			return odd, err // ends the scan
		}
		at, p := item.Path, named(root, item.Path)
		if item.Entry.Hard != "" {
			item.Entry.Hard = named(root, item.Entry.Hard)
		}
		if err == nil {
			err = take(p, item.Entry, func() ([]byte, error) {
				_, data, err := t.ReadBytes(at)
				return data, err
			})
		}
		if err != nil {
			odd[p] = err
		}
	}
	return odd, nil
}

// named is the path on a server.
func named(root, p state.Path) state.Path { return "etc" + p[len(root):] }

// ReadKept reads the record of a conversion; nil if there is none. An error other than of reading means that it is damaged.
func ReadKept(path string) (*convert.Kept, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("record of a conversion: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, convert.KeptLimit+1))
	if err != nil {
		return nil, fmt.Errorf("record of a conversion: %w", err)
	}
	k, err := convert.ParseKept(text)
	if err != nil {
		return nil, err
	}
	return &k, nil
}
