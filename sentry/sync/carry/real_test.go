package carry

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// realPair makes a primary and a secondary with real histories below their directories.
func realPair(t testing.TB, lim Limits) (left, right *server, from, to *history.Repo) {
	rig := newRig(t, 2)
	left, right = rig.all[0], rig.all[1]
	repos := make([]*history.Repo, 2)
	for i, s := range rig.all {
		r, err := history.Open(filepath.Join(s.dir, "history"), history.Options{Server: s.self.Name})
		ok(t, err)
		t.Cleanup(func() { ok(t, r.Close()) })
		repos[i] = r
		s.store = FromHistory(r)
	}
	right.receive(lim, nil)
	left.sender(lim, nil, nil)
	return left, right, repos[0], repos[1]
}

func edit(path string, data []byte) history.Edit {
	return history.Edit{Path: state.Path(path), Entry: &state.Entry{Kind: state.File, Mode: 0o644, Owner: "root", Group: "root"}, Content: data}
}

func dir(path string) history.Edit {
	return history.Edit{Path: state.Path(path), Entry: &state.Entry{Kind: state.Dir, Mode: 0o755, Owner: "root", Group: "root"}}
}

func record(t testing.TB, r *history.Repo, edits ...history.Edit) state.Commit {
	t.Helper()
	c, _, err := r.Record(state.Site, edits, history.Meta{})
	ok(t, err)
	return c
}

func waitReal(t testing.TB, r *history.Repo, c state.Commit) {
	t.Helper()
	waitFor(t, 30*time.Second, func() bool { h, _ := r.Head(state.Site); return h.ID == c.ID }, func() string {
		h, _ := r.Head(state.Site)
		return fmt.Sprintf("there is change %d; want %d", h.Seq, c.Seq)
	})
}

func TestRealHistory(t *testing.T) {
	left, right, from, to := realPair(t, fast)
	allow := func(c state.Commit) { left.send.Update(c); left.send.Allow(c) }
	// A large first state, which goes through files in pieces; then small ones; then both ends were off.
	edits := []history.Edit{dir("etc"), dir("etc/big")}
	for i := range 40 {
		edits = append(edits, edit(fmt.Sprintf("etc/big/%02d", i), random(20_000, byte(i))))
	}
	c := record(t, from, edits...)
	allow(c)
	waitReal(t, to, c)
	for i := range 20 {
		c = record(t, from, edit("etc/hosts", fmt.Appendf(nil, "127.0.0.1 localhost\n# %d\n", i)))
		allow(c)
	}
	waitReal(t, to, c)
	left.send.Stop()
	right.recv.Stop()
	for i := range 30 {
		c = record(t, from, edit(fmt.Sprintf("etc/f%d", i), random(3000, byte(i))))
	}
	allow(c)
	ok(t, left.send.Start(source()))
	ok(t, right.recv.Start(testSite, "secondary"))
	waitReal(t, to, c)
	count := 0
	if err := to.Walk(c.ID, "etc", func(p state.Path, e state.Entry) error {
		if count++; e.Kind != state.File {
			return nil
		}
		want, there, err := from.Lookup(c.ID, p)
		if err != nil || !there || !e.Equal(want) {
			t.Errorf("%s = %+v; want %+v (%v, %v)", p, e, want, there, err)
		}
		return nil
	}); err != nil || count < 70 {
		t.Errorf("%d entries are there, %v", count, err)
	}

	// The histories ran apart; by order the primary's counts.
	left.send.Stop()
	was := record(t, to, edit("etc/hosts", []byte("changed on the secondary's copy")))
	c = record(t, from, edit("etc/hosts", []byte("changed on the primary")))
	allow(c)
	ok(t, left.send.Start(source()))
	waitFor(t, 10*time.Second, func() bool { return left.send.Status()["right"].Code == CodeDiverged }, func() string {
		return fmt.Sprintf("status = %+v", left.send.Status()["right"])
	})
	right.recv.Replace("kept-20261122-120000")
	waitReal(t, to, c)
	if kept, ok := to.Head("kept-20261122-120000"); !ok || kept.ID != was.ID {
		t.Errorf("what was there is kept as %+v; want %s", kept, was.ID)
	}
}

// From a change that is recorded to its being durable on the other server (received), and to the primary's knowing that (answered);
// "write" counts the recording on the primary as well.
func BenchmarkSmallPush(b *testing.B) {
	left, right, from, to := realPair(b, Limits{})
	got := make(chan time.Time, 1)
	right.recv.Stop()
	right.recv.OnReceived(func(state.Commit, Offer) { got <- time.Now() })
	ok(b, right.recv.Start(testSite, "secondary"))
	c := record(b, from, dir("etc"), edit("etc/hosts", []byte("first")))
	left.send.Update(c)
	left.send.Allow(c)
	waitReal(b, to, c)
	<-got
	var write, received, answered []time.Duration
	for i := 0; b.Loop(); i++ {
		t0 := time.Now()
		c := record(b, from, edit("etc/hosts", fmt.Appendf(nil, "127.0.0.1 localhost\n# change %d\n", i)))
		t1 := time.Now()
		left.send.Update(c)
		left.send.Allow(c)
		t2 := <-got
		for left.send.Status()["right"].Received.ID != c.ID {
			time.Sleep(20 * time.Microsecond)
		}
		write, received, answered = append(write, t2.Sub(t0)), append(received, t2.Sub(t1)), append(answered, time.Since(t1))
		if i%100 == 99 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	for name, list := range map[string][]time.Duration{"write": write, "received": received, "answered": answered} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(list[len(list)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
}

// What carrying alone takes: histories in memory.
func BenchmarkCarryAlone(b *testing.B) {
	rig := newRig(b, 2)
	left, right := rig.all[0], rig.all[1]
	got := make(chan time.Time, 1)
	right.receive(Limits{}, nil).OnReceived(func(state.Commit, Offer) { got <- time.Now() })
	left.sender(Limits{}, nil, nil)
	left.change([]byte("first"))
	<-got
	var received []time.Duration
	for i := 0; b.Loop(); i++ {
		t0 := time.Now()
		left.change(fmt.Appendf(nil, "change %d", i))
		received = append(received, (<-got).Sub(t0))
	}
	slices.Sort(received)
	b.ReportMetric(float64(received[len(received)/2].Microseconds())/1000, "received-p50-ms")
	b.ReportMetric(float64(received[len(received)*99/100].Microseconds())/1000, "received-p99-ms")
}

// A commit that was amended after it had been sent takes its place at the receiver, also when its first form is known nowhere else any more.
func TestAmendedAfterSending(t *testing.T) {
	left, right, from, to := realPair(t, fast)
	allow := func(c state.Commit) { left.send.Update(c); left.send.Allow(c) }
	allow(record(t, from, dir("etc"), edit("etc/hosts", []byte("first"))))
	second := record(t, from, edit("etc/hosts", []byte("second")))
	allow(second)
	waitReal(t, to, second)
	amend := func(text string) state.Commit {
		c, _, err := from.Record(state.Site, []history.Edit{edit("etc/hosts", []byte(text))}, history.Meta{Amend: true})
		ok(t, err)
		return c
	}
	c := amend("second, amended")
	allow(c)
	waitReal(t, to, c)
	if c.Seq != second.Seq {
		t.Errorf("the amended commit has number %d; want %d", c.Seq, second.Seq)
	}

	// While the receiver is away, the form that it has is amended, followed, and forgotten.
	right.recv.Stop()
	amend("second, amended again")
	third := record(t, from, edit("etc/hosts", []byte("third")))
	ok(t, from.Pack(t.Context()))
	allow(third)
	ok(t, right.recv.Start(testSite, "secondary"))
	waitReal(t, to, third)
}
