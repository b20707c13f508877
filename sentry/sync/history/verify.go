package history

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // git's
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Verify reads all that is recorded: every commit of every branch, every directory and every file's bytes, and the packs' checksums. It returns
// a *DamagedError that names the first thing that cannot be read. It does not keep anybody from recording.
func (r *Repo) Verify(ctx context.Context) error {
	r.mu.RLock()
	heads := maps.Clone(r.heads)
	r.mu.RUnlock()
	r.store.mu.RLock()
	packs := append([]*pack(nil), r.store.packs...)
	r.store.mu.RUnlock()
	for _, p := range packs {
		if err := p.verify(ctx); err != nil {
			return err
		}
	}
	v := verifier{r: r, ctx: ctx, seen: map[plumbing.Hash]bool{}}
	for b, h := range heads {
		var next *commitRec
		for !h.IsZero() && !v.seen[h] {
			v.seen[h] = true
			// Past the caches: what is in memory says nothing of the disk.
			_, raw, err := r.store.get(h)
			if err != nil {
				return v.bad(fmt.Sprintf("commit %s of line %q", h, b), err)
			}
			c, err := parseCommit(raw)
			if err == nil && next != nil && next.Seq != c.Seq+1 {
				err = fmt.Errorf("its number is %d, and the one after it has %d", c.Seq, next.Seq)
			}
			if err == nil && c.Parent == "" && c.Seq != 1 {
				err = fmt.Errorf("it is the first one, and its number is %d", c.Seq)
			}
			if err != nil {
				return v.bad(fmt.Sprintf("commit %s of line %q", h, b), err)
			}
			if err := v.tree(c.tree, "", c.ID); err != nil {
				return err
			}
			next, h = &c, plumbing.NewHash(c.Parent)
		}
	}
	return nil
}

type verifier struct {
	r    *Repo
	ctx  context.Context
	seen map[plumbing.Hash]bool
}

func (v *verifier) bad(where string, err error) error {
	if v.ctx.Err() != nil {
		return v.ctx.Err()
	}
	return &DamagedError{Where: where, What: "it cannot be read", Err: err}
}

func (v *verifier) tree(h plumbing.Hash, path state.Path, commit string) error {
	if v.seen[h] {
		return nil
	}
	v.seen[h] = true
	if err := v.ctx.Err(); err != nil {
		return err
	}
	where := fmt.Sprintf("directory %q in commit %s", "/"+string(path), short(commit))
	d, err := readDir(v.r.store, h)
	if err != nil {
		return v.bad(where, err)
	}
	for i := range d.items {
		it := &d.items[i]
		p := below(path, it.name)
		if it.kind == state.Dir {
			if err := v.tree(it.hash, p, commit); err != nil {
				return err
			}
			continue
		}
		if v.seen[it.hash] {
			continue
		}
		v.seen[it.hash] = true
		if err := v.blob(it); err != nil {
			return v.bad(fmt.Sprintf("%s in commit %s", pathWord(p), short(commit)), err)
		}
	}
	return nil
}

func (v *verifier) blob(it *item) error {
	rc, typ, size, err := v.r.store.open(it.hash)
	if err != nil {
		return err
	}
	defer rc.Close()
	if typ != plumbing.BlobObject || it.kind == state.File && size != it.size {
		return fmt.Errorf("it is a %s of %d bytes where a file of %d is told", typ, size, it.size)
	}
	_, err = io.Copy(io.Discard, rc)
	return err
}

// CheckFiles compares what lies on the disk with its checksums: packs, their indexes, the journal and the heads. It reads each byte once and
// decodes nothing, so it is much quicker than Verify, and finds what a disk does to files; what was recorded wrongly only Verify finds. Recording
// waits while the journal is read.
func (r *Repo) CheckFiles(ctx context.Context) error {
	r.store.mu.RLock()
	packs := slices.Clone(r.store.packs)
	r.store.mu.RUnlock()
	for _, p := range packs {
		if err := p.verify(ctx); err != nil {
			return err
		}
		idx, err := readDisk(p.name + ".idx")
		if errors.Is(err, fs.ErrNotExist) {
			r.store.mu.RLock()
			gone := !slices.Contains(r.store.packs, p)
			r.store.mu.RUnlock()
			if gone { // packed meanwhile
				continue
			}
		}
		if err != nil || !bytes.Equal(idx, p.idx) {
			return &DamagedError{Where: p.name + ".idx", What: "it is not what it was", Err: err}
		}
	}
	r.wmu.Lock()
	err := r.checkJournal()
	r.wmu.Unlock()
	if err != nil {
		return err
	}
	path := filepath.Join(r.git(), "packed-refs")
	heads, err := readRefs(path)
	if err != nil {
		return err
	}
	for b, h := range heads {
		if _, _, _, here := r.store.find(h); !here {
			return &DamagedError{Where: path, What: fmt.Sprintf("line %q is at commit %s, which is not there", b, h)}
		}
	}
	return ctx.Err()
}

// checkJournal needs wmu.
func (r *Repo) checkJournal() error {
	if err := r.writable(); err != nil {
		return err
	}
	j := r.journal
	b := make([]byte, j.end)
	forget(j.f)
	if _, err := j.f.ReadAt(b, 0); err != nil {
		return &DamagedError{Where: j.path, What: "it cannot be read", Err: err}
	}
	gen, records, end, err := parseJournal(b)
	if err == nil && (gen != j.gen || uint64(len(records)) != j.seq || end != j.end) {
		err = fmt.Errorf("%d of %d records can be read", len(records), j.seq)
	}
	if err != nil {
		return &DamagedError{Where: j.path, What: "the journal of the last changes cannot be read", Err: err}
	}
	return nil
}

// readDisk reads a file as it is on the disk, which is not always what the kernel still has of it in memory.
func readDisk(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	forget(f)
	return io.ReadAll(f)
}

// forget asks the kernel to give up what it holds of a file in memory, so that the disk is read next. It is best effort.
func forget(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// verify compares a pack with the checksum at its end, and with its index.
func (p *pack) verify(ctx context.Context) error {
	forget(p.f)
	fi, err := p.f.Stat()
	if err != nil {
		return fmt.Errorf("look at a pack: %w", err)
	}
	where := p.name + ".pack"
	if fi.Size() < 32 {
		return &DamagedError{Where: where, What: "it is cut short"}
	}
	sum := sha1.New() //nolint:gosec
	buf := make([]byte, 1<<20)
	r := io.NewSectionReader(p.f, 0, fi.Size()-20)
	for {
		n, err := r.Read(buf)
		sum.Write(buf[:n])
		if err == io.EOF { //nolint:errorlint // of a SectionReader
			break
		}
		if err == nil {
			err = ctx.Err()
		} else {
			err = &DamagedError{Where: where, What: "it cannot be read", Err: err}
		}
		if err != nil {
			return err
		}
	}
	var end [20]byte
	if _, err := p.f.ReadAt(end[:], fi.Size()-20); err != nil {
		return &DamagedError{Where: where, What: "it cannot be read", Err: err}
	}
	if !bytes.Equal(end[:], sum.Sum(nil)) || !bytes.Equal(end[:], p.idx[len(p.idx)-40:len(p.idx)-20]) {
		return &DamagedError{Where: where, What: "its checksum does not fit"}
	}
	return nil
}
