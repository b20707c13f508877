package carry

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// board holds what became of the newest state, and wakes those who wait for news.
type board struct {
	mu   sync.Mutex
	p    Progress
	news chan struct{} // closed and replaced with each change
}

func newBoard(own Versions) *board {
	return &board{p: Progress{Epoch: rand.Text(), Versions: own}, news: make(chan struct{})}
}

// change lets f alter the progress and numbers the result.
func (b *board) change(f func(*Progress)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	epoch, n, own := b.p.Epoch, b.p.N, b.p.Versions
	f(&b.p)
	b.p.Epoch, b.p.N, b.p.Versions = epoch, n+1, own
	close(b.news)
	b.news = make(chan struct{})
}

func (b *board) now() (Progress, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.p, b.news
}

// lull is how long news of a state on its way wait for what becomes of it: a small change is live sooner, and is told once.
const lull = 25 * time.Millisecond

// after gives the progress as soon as it is another than number n of epoch, or when ctx ends.
func (b *board) after(ctx context.Context, epoch string, n uint64) Progress {
	var waited <-chan time.Time
	for {
		p, news := b.now()
		if p.Epoch != epoch || p.N > n && p.State.settled() {
			return p
		}
		if p.N > n && waited == nil {
			waited = time.After(lull)
		}
		select {
		case <-news:
		case <-waited:
			p, _ = b.now()
			return p
		case <-ctx.Done():
			return p
		}
	}
}

func (p Progress) String() string {
	if p.State == Unknown {
		return "nothing told yet"
	}
	return fmt.Sprintf("%s, change %d", p.State, p.Head.Seq)
}
