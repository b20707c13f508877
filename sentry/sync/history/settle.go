package history

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
)

// Stats are a history's sizes.
type Stats struct {
	Commits int   // of all lines, added up
	Packs   int   // packfiles; above twelve, Pack is due
	Bytes   int64 // of packs and their indexes on disk
	Journal int64 // bytes that wait to be settled
	Memory  int64 // bytes that decoded directories and unsettled objects take, about
	Trouble error // why the last settling in the background did not work, nil if it did; nothing is lost, but the journal grows
}

// PackDue tells whether it is time for Pack.
func (s Stats) PackDue() bool { return s.Packs > packsDue }

// Stats measures.
func (r *Repo) Stats() (Stats, error) {
	r.wmu.Lock()
	st := Stats{Journal: r.journal.end - journalHeader}
	r.wmu.Unlock()
	r.mu.RLock()
	st.Trouble = r.trouble
	heads := make([]plumbing.Hash, 0, len(r.heads))
	for _, h := range r.heads {
		heads = append(heads, h)
	}
	r.mu.RUnlock()
	r.store.mu.RLock()
	st.Packs = len(r.store.packs)
	for _, p := range r.store.packs {
		st.Bytes += int64(len(p.idx))
		st.Memory += int64(len(p.idx))
		if fi, err := p.f.Stat(); err == nil {
			st.Bytes += fi.Size()
		}
	}
	for _, o := range r.store.mem {
		st.Memory += int64(len(o.deflated)) + 100
	}
	r.store.mu.RUnlock()
	st.Memory += r.dirs.size()
	for _, h := range heads {
		c, err := r.commit(h)
		if err != nil {
			return st, err
		}
		st.Commits += int(c.Seq)
	}
	return st, nil
}

// Settle moves what is in the journal into the git repository: after it, git sees all. It is also done by itself, in the background.
func (r *Repo) Settle() error {
	r.wmu.Lock()
	defer r.wmu.Unlock()
	if err := r.writable(); err != nil {
		return err
	}
	return r.settle()
}

// settleSoon is called by who writes, with wmu held. The caller's commit is durable already and does not wait for this.
func (r *Repo) settleSoon() {
	if r.opt.settleAt < 0 || r.journal.end < r.opt.settleAt {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settling || r.closed {
		return
	}
	r.settling = true
	r.jobs.Go(func() {
		r.wmu.Lock()
		err := r.settle()
		r.wmu.Unlock()
		r.mu.Lock()
		r.settling, r.trouble = false, err
		r.mu.Unlock()
	})
}

// settle: first the pack, then the heads that need it, then the empty journal. A power cut in between leaves a journal that says again what has
// been settled already, which does no harm.
func (r *Repo) settle() error {
	if r.journal.bad != nil {
		return r.journal.bad
	}
	if r.journal.end == journalHeader {
		return nil
	}
	s := r.store
	if err := r.step("pack"); err != nil {
		return err
	}
	var p *pack
	if len(s.order) > 0 {
		w, err := newPackWriter(s.dir, s.z)
		if err != nil {
			return err
		}
		for _, h := range s.order {
			o := s.mem[h]
			if err := w.add(h, o.typ, o.size, o.deflated, 0); err != nil {
				w.drop()
				return fmt.Errorf("settle the journal: %w", err)
			}
		}
		if p, err = w.finish(); err != nil {
			return err
		}
	}
	if err := r.step("refs"); err != nil {
		return err
	}
	if err := r.writeRefs(); err != nil {
		return fmt.Errorf("settle the journal: %w", err)
	}
	if err := r.step("journal"); err != nil {
		return err
	}
	j, err := newJournal(r.journalPath(), r.opt.journal)
	if err != nil {
		return err
	}
	if err := r.journal.close(); err != nil {
		return errors.Join(fmt.Errorf("close the settled journal: %w", err), j.close())
	}
	r.journal = j
	s.mu.Lock()
	defer s.mu.Unlock()
	if p != nil {
		s.packs = append([]*pack{p}, s.packs...)
	}
	s.mem, s.order = map[plumbing.Hash]object{}, nil
	return nil
}

func (r *Repo) step(name string) error {
	if r.opt.step != nil {
		return r.opt.step(name)
	}
	return nil
}

// Pack writes all that the branches need into one packfile, older states as differences to newer ones, and removes the other packs and with
// them what amended commits left. Commits may be recorded meanwhile. If a branch is put elsewhere meanwhile nothing is removed, and the next
// Pack does it.
func (r *Repo) Pack(ctx context.Context) error {
	r.wmu.Lock()
	err := r.writable()
	if len(r.store.old) > 0 {
		err = errors.New("pack the history: it is being packed already")
	}
	if err == nil {
		err = r.settle()
	}
	if err != nil {
		r.wmu.Unlock()
		return err
	}
	r.store.mu.Lock()
	r.store.old = append([]*pack(nil), r.store.packs...)
	r.store.mu.Unlock()
	r.mu.Lock()
	r.moved = false
	var heads []plumbing.Hash
	for _, h := range r.heads {
		heads = append(heads, h)
	}
	r.mu.Unlock()
	r.wmu.Unlock()

	w, err := r.repack(ctx, heads)
	if err == nil && len(w.offs) > 0 {
		if err = w.seal(); err != nil {
			w.drop()
		}
	}

	r.wmu.Lock()
	defer r.wmu.Unlock()
	defer func() {
		r.store.mu.Lock()
		r.store.old = nil
		r.store.mu.Unlock()
	}()
	if err != nil {
		return fmt.Errorf("pack the history: %w", err)
	}
	r.mu.RLock()
	stop := r.moved || r.closed
	r.mu.RUnlock()
	if stop || len(w.offs) == 0 {
		w.drop()
		return nil
	}
	if err := r.step("swap"); err != nil {
		w.drop()
		return err
	}
	p, err := w.finish()
	if err != nil {
		return err
	}
	return r.swapPacks(p)
}

// swapPacks puts p in the place of the old packs. Readers that are in the middle of an old one go on: a file lives until it is closed, and the
// runtime closes what nobody holds any more.
func (r *Repo) swapPacks(p *pack) error {
	s := r.store
	s.mu.Lock()
	var keep []*pack
	for _, q := range s.packs {
		old := false
		for _, o := range s.old {
			old = old || o == q
		}
		if !old {
			keep = append(keep, q)
		}
	}
	gone := s.old
	s.packs = append(keep, p)
	s.mu.Unlock()
	// The indexes first: a pack without one is cleared away by Open, an index without a pack is damage.
	var err error
	for _, ext := range []string{".idx", ".pack"} {
		for _, q := range gone {
			if q.name != p.name { // else nothing was to be changed
				err = errors.Join(err, os.Remove(q.name+ext))
			}
		}
		if err = errors.Join(err, syncDir(s.dir), r.step("remove")); err != nil {
			return fmt.Errorf("remove packs that were replaced: %w", err)
		}
	}
	return nil
}
