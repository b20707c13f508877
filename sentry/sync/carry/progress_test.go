package carry

import (
	"testing"
	"time"
)

// TestNewsOnTheWay: what becomes of a state within a moment is told with it; what takes longer is told all the same.
func TestNewsOnTheWay(t *testing.T) {
	b := newBoard(Versions{})
	is := func(s Stage) { b.change(func(p *Progress) { p.State = s }) }
	first := b.after(t.Context(), "", 0)
	time.AfterFunc(5*time.Millisecond, func() {
		is(Receiving)
		is(Applying)
		is(InStep)
	})
	p := b.after(t.Context(), first.Epoch, first.N)
	if p.State != InStep || p.N != first.N+3 {
		t.Errorf("told %+v; want in step at once", p)
	}
	from := time.Now()
	is(Checking)
	if p = b.after(t.Context(), p.Epoch, p.N); p.State != Checking {
		t.Errorf("told %+v; want checking", p)
	}
	if d := time.Since(from); d < lull || d > 40*lull {
		t.Errorf("checking was told after %s; want %s", d, lull)
	}
}
