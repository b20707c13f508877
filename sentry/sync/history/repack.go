package history

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"sayasystems.com/atlas/sentry/sync/state"
)

const (
	deltaAt   = 50       // deltas upon each other
	deltaSize = 1 << 20  // larger objects stay whole
	basesKept = 16 << 20 // bytes
)

// packer writes what commits need. It goes from the newest to the oldest, and what lay at the same path a little later is the base of a delta:
// directories of hundreds of entries differ in one line mostly, and the newest state is the one that is read without any delta.
type packer struct {
	r     *Repo
	w     *packWriter
	ctx   context.Context
	bases map[string]base
	used  int
	buf   bytes.Buffer
	z     *zlib.Writer
}

type base struct {
	off     int64
	chain   int
	content []byte
}

// repack writes all that heads and their ancestors need into a new pack, which is not finished yet. It holds no lock.
func (r *Repo) repack(ctx context.Context, heads []plumbing.Hash) (*packWriter, error) {
	w, err := newPackWriter(r.store.dir, r.store.z)
	if err != nil {
		return nil, err
	}
	p := &packer{r: r, w: w, ctx: ctx, bases: map[string]base{}}
	if p.z, err = zlib.NewWriterLevel(&p.buf, zlib.DefaultCompression); err != nil {
		w.drop()
		return nil, err
	}
	for _, h := range heads {
		for !h.IsZero() && !p.have(h) {
			c, err := r.commit(h)
			if err == nil {
				err = errors.Join(p.add(h, plumbing.CommitObject, ""), p.tree(c.tree, ""))
			}
			if err != nil {
				w.drop()
				return nil, err
			}
			h = plumbing.NewHash(c.Parent)
		}
	}
	return w, nil
}

func (p *packer) have(h plumbing.Hash) bool {
	_, ok := p.w.offs[h]
	return ok
}

func (p *packer) tree(h plumbing.Hash, path string) error {
	if p.have(h) {
		return nil
	}
	d, err := p.r.loadDir(h)
	if err != nil {
		return err
	}
	if err := p.add(h, plumbing.TreeObject, path+"//"); err != nil {
		return err
	}
	if err := p.add(d.sidecar, plumbing.BlobObject, path+"//."); err != nil {
		return err
	}
	for i := range d.items {
		it := &d.items[i]
		below := path + "/" + it.name
		if it.kind == state.Dir {
			err = p.tree(it.hash, below)
		} else {
			err = p.add(it.hash, plumbing.BlobObject, below)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add writes one object; key tells which ones are likely to be alike.
func (p *packer) add(h plumbing.Hash, typ plumbing.ObjectType, key string) error {
	if p.have(h) {
		return nil
	}
	if err := p.ctx.Err(); err != nil {
		return err
	}
	_, size, err := p.r.store.stat(h)
	if err != nil {
		return err
	}
	if size > deltaSize {
		r, _, _, err := p.r.store.open(h)
		if err != nil {
			return err
		}
		defer r.Close()
		got, err := p.w.stream(typ, size, r)
		if err == nil && got != h {
			err = damagedObject(h, errors.New("its bytes do not fit its name"))
		}
		return err
	}
	_, content, err := p.r.store.get(h)
	if err != nil {
		return err
	}
	next := base{off: p.w.at, content: content}
	was, ok := p.bases[key]
	if ok && key != "" && was.chain < deltaAt && len(was.content) > 0 && len(content) > 64 {
		if delta := packfile.DiffDelta(was.content, content); len(delta) < len(content)/2 {
			b, err := p.deflate(delta)
			if err != nil {
				return err
			}
			if err := p.w.add(h, plumbing.OFSDeltaObject, int64(len(delta)), b, was.off); err != nil {
				return err
			}
			next.chain = was.chain + 1
			p.remember(key, next)
			return nil
		}
	}
	b, err := p.deflate(content)
	if err != nil {
		return err
	}
	p.remember(key, next)
	return p.w.add(h, typ, size, b, 0)
}

func (p *packer) deflate(b []byte) ([]byte, error) {
	p.buf.Reset()
	p.z.Reset(&p.buf)
	_, err := p.z.Write(b)
	err = errors.Join(err, p.z.Close())
	return p.buf.Bytes(), err
}

func (p *packer) remember(key string, b base) {
	if key == "" {
		return
	}
	p.used += len(b.content) - len(p.bases[key].content)
	p.bases[key] = b
	for k, v := range p.bases { // any of them: which one matters little
		if p.used <= basesKept {
			break
		}
		p.used -= len(v.content)
		delete(p.bases, k)
	}
}
