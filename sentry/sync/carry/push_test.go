package carry

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

func TestPush(t *testing.T) {
	rig := newRig(t, 3)
	left, right, third := rig.all[0], rig.all[1], rig.all[2]
	var mu sync.Mutex
	var got []string
	for _, s := range []*server{right, third} {
		r := s.receive(fast, nil)
		r.OnReceived(func(c state.Commit, o Offer) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(s.self.Name, " ", c.Seq, " from ", o.Server, " ", o.Image))
			go r.SetProgress(Progress{State: InStep, Live: pointOf(c)})
		})
	}
	left.sender(fast, nil, nil)
	first := left.change([]byte("one"))
	right.waitHead(first)
	third.waitHead(first)
	before := right.requests.Load()
	const more = 20
	var last state.Commit
	for i := range more {
		last = left.change(fmt.Appendf(nil, "change %d", i))
		right.waitHead(last)
		third.waitHead(last)
	}
	// One request a change: no hello, no question; but beats fall in between now and then.
	if n := right.requests.Load() - before; n > more+5 {
		t.Errorf("%d changes took %d requests", more, n)
	}
	// A pack is made once for both.
	if n := left.hist.exports; n > 2*more {
		t.Errorf("%d changes for two servers were exported %d times", more, n)
	}
	waitFor(t, 5*time.Second, func() bool {
		st := left.send.Status()["right"]
		return st.State == InStep && st.Live.ID == last.ID && st.Received.ID == last.ID && st.Lag == Lag{} && st.Up && st.Err == "" && st.Image == "1.0"
	}, func() string { return fmt.Sprintf("status = %+v", left.send.Status()["right"]) })
	mu.Lock()
	defer mu.Unlock()
	if want := fmt.Sprintf("third %d from left 1.0", last.Seq); !slices.Contains(got, want) {
		t.Errorf("OnReceived got %q; want %q among it", got, want)
	}
}

func TestHold(t *testing.T) {
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	right.receive(fast, nil)
	send := left.sender(fast, nil, nil)
	good := left.change([]byte("good"))
	right.waitHead(good)

	// Recorded but not allowed: it stays here.
	bad := left.hist.record([]byte("bad"))
	send.Update(bad)
	send.Hold("apache2 does not take it")
	send.Allow(bad)
	time.Sleep(50 * time.Millisecond)
	if h, _ := right.hist.Head(state.Site); h.ID != good.ID {
		t.Fatalf("during the hold change %d arrived", h.Seq)
	}
	st := send.Status()["right"]
	if st.Held != "apache2 does not take it" || st.Lag.Commits != 2 || st.Lag.Since.IsZero() {
		t.Errorf("status during the hold = %+v", st)
	}
	mended := left.hist.record([]byte("mended"))
	send.Update(mended)
	send.Allow(mended)
	send.Release()
	right.waitHead(mended)
	if st := send.Status()["right"]; st.Held != "" {
		t.Errorf("Held = %q after Release", st.Held)
	}
}

func TestProgressCrossesAtOnce(t *testing.T) {
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	recv := right.receive(fast, nil)
	send := left.sender(fast, nil, nil)
	c := left.change([]byte("x"))
	right.waitHead(c)
	stateIs := func(s Stage) func() bool { return func() bool { return send.Status()["right"].State == s } }
	tell := func() string { return fmt.Sprintf("status = %+v", send.Status()["right"]) }
	waitFor(t, 5*time.Second, stateIs(Receiving), tell)
	for _, s := range []Stage{Converting, Checking, Applying, Probing} {
		from := time.Now()
		recv.SetProgress(Progress{State: s})
		waitFor(t, 5*time.Second, stateIs(s), tell)
		if d := time.Since(from); d > time.Second {
			t.Errorf("%s was known after %s", s, d)
		}
	}
	recv.SetProgress(Progress{State: Refused, Findings: []initapi.Finding{{ID: "check", What: "bad\x1b[31m line 3", Severity: "warning"}}})
	waitFor(t, 5*time.Second, stateIs(Refused), tell)
	st := send.Status()["right"]
	if len(st.Findings) != 1 || st.Findings[0].What != "bad[31m line 3" || st.Live != (Point{}) || st.Lag.Commits != 1 {
		t.Errorf("status = %+v", st)
	}
}

func TestMissingReport(t *testing.T) {
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	clock := &skewed{}
	recv := right.receive(fast, nil)
	send := left.sender(fast, clock, nil)
	c := left.change([]byte("x"))
	right.waitHead(c)
	status := func() Status { return send.Status()["right"] }
	tell := func() string { return fmt.Sprintf("status = %+v", status()) }
	waitFor(t, 5*time.Second, func() bool { return status().State == Receiving }, tell)
	if status().Missing {
		t.Error("Missing at once")
	}
	// The daemon there answers, but its engine tells nothing about the change.
	clock.add(61 * time.Second)
	waitFor(t, 5*time.Second, func() bool { return status().Missing && status().Err != "" }, tell)
	recv.SetProgress(Progress{State: InStep, Live: pointOf(c)})
	waitFor(t, 5*time.Second, func() bool { return !status().Missing && status().State == InStep }, tell)
	// Settled: as long as it answers, nothing is missing.
	clock.add(61 * time.Second)
	waitFor(t, 5*time.Second, func() bool { return !status().Missing }, tell)
	// It does not answer any more.
	right.stop()
	waitFor(t, 10*time.Second, func() bool { return !status().Up }, tell)
	if status().Missing {
		t.Error("Missing right after it went")
	}
	clock.add(61 * time.Second)
	waitFor(t, 5*time.Second, func() bool { return status().Missing }, tell)

	// It comes back with the same state, and another change goes through.
	right.recv.Stop()
	ok(t, right.recv.Start(testSite, "secondary"))
	right.serve()
	right.waitHead(left.change([]byte("y")))
}

func TestStartStop(t *testing.T) {
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	recv := right.receive(fast, nil)
	send := left.sender(fast, nil, nil)
	right.waitHead(left.change([]byte("1")))
	for i := range 5 {
		send.Stop()
		if send.Status()["right"].Up {
			t.Error("a link is left after Stop")
		}
		recv.Stop()
		c := left.change(fmt.Appendf(nil, "stopped %d", i))
		ok(t, send.Start(source()))
		ok(t, recv.Start(testSite, "secondary"))
		right.waitHead(c)
	}
	if err := send.Start(source()); err == nil {
		t.Error("Start twice = nil")
	}
	if err := recv.Start(testSite, "secondary"); err == nil {
		t.Error("receiver's Start twice = nil")
	}
}
