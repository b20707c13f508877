package carry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// line connects from one server to another for requests made by hand.
func (s *server) line(t *testing.T, to *server) *peers.Line {
	t.Helper()
	l, err := peers.NewClient(s.id, s.port).Line(to.self)
	ok(t, err)
	t.Cleanup(l.Close)
	return l
}

func post(t *testing.T, l *peers.Line, path string, body []byte) (State, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	data, err := ask(ctx, l, http.MethodPost, path, bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return State{}, err
	}
	return decodeState(data, Versions{})
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

func hello() Hello {
	return Hello{Protocol: Protocol, Server: "left", Versions: Versions{"1.0", "13"}, Source: source()}
}

// offer is a proper push of what h has from base on.
func offer(t *testing.T, h *fakeHistory, base string) (Offer, []byte) {
	t.Helper()
	var buf bytes.Buffer
	var have []string
	if base != "" {
		have = []string{base}
	}
	c, _ := h.Head(state.Site)
	ok(t, h.Export(&buf, have, c.ID))
	sum := sha256.Sum256(buf.Bytes())
	return Offer{
		Protocol: Protocol, Server: "left", Versions: Versions{"1.0", "13"}, Site: testSite, Set: testSet, Lineage: lineage0, Branch: state.Site,
		Base: base, Head: pointOf(c), Pack: hex.EncodeToString(sum[:]), Size: int64(buf.Len()),
	}, buf.Bytes()
}

func framed(t *testing.T, o Offer, pack []byte) []byte {
	t.Helper()
	head, err := frame(o)
	ok(t, err)
	return append(head, pack...)
}

func TestRefusedHello(t *testing.T) {
	cases := []struct {
		name  string
		alter func(rig *testRig, h *Hello)
		code  Code
		words string
	}{
		{"another site", func(_ *testRig, h *Hello) { h.Site = "other" }, CodeSite, "another site"},
		{"not the primary", func(r *testRig, _ *Hello) {
			r.all[0].setAttestation(roles.Attestation{Server: "left", Role: roles.Secondary})
		}, CodeRole, "does not attest"},
		{"not reachable", func(r *testRig, _ *Hello) { r.all[0].setAttestation(roles.Attestation{Server: "left"}) }, CodeRole, "does not attest"},
		{"another set", func(_ *testRig, h *Hello) { h.Set = "stolen" }, CodeRole, "does not attest"},
		{"another lineage", func(_ *testRig, h *Hello) { h.Lineage = []string{lineage1} }, CodeRole, "does not attest"},
		{"two primaries", func(r *testRig, _ *Hello) { r.all[2].setAttestation(attest("third", "x", lineage1)) }, CodePrimaries, "left, third"},
		{"newer protocol", func(_ *testRig, h *Hello) { h.Protocol, h.Image = 7, "3.1" }, CodeProtocol, "newer version of ATLAS (3.1)"},
		{"older protocol", func(_ *testRig, h *Hello) { h.Protocol = 0 }, CodeProtocol, "older version of ATLAS (1.0)"},
		{"no lineage", func(_ *testRig, h *Hello) { h.Lineage = nil }, CodeGarbage, "lineage is missing"},
		{"endless lineage", func(_ *testRig, h *Hello) { h.Lineage = make([]string, maxNames+1) }, CodeGarbage, "endless"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rig := newRig(t, 3)
			right := rig.all[1]
			right.receive(fast, nil)
			h := hello()
			c.alter(rig, &h)
			_, err := post(t, rig.all[0].line(t, right), PathHello, encode(h))
			if CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.words) {
				t.Errorf("hello = %q (%s); want %s, %q", err, CodeOf(err), c.code, c.words)
			}
			if s := right.recv.Source(); s.Set != "" {
				t.Errorf("the source of a refused hello is followed: %+v", s)
			}
			if f := right.recv.Findings(); len(f) != 1 || f[0].Next == "" || f[0].Where != "left" {
				t.Errorf("findings = %+v; want one with what to do", f)
			}
		})
	}
}

func TestRefusedPush(t *testing.T) {
	rig := newRig(t, 3)
	left, right := rig.all[0], rig.all[1]
	lim := fast
	lim.Pack, lim.Fresh = 1<<20, time.Nanosecond
	recv := right.receive(lim, nil)
	recv.OnReceived(func(c state.Commit, _ Offer) { t.Errorf("OnReceived(%d)", c.Seq) })
	l := left.line(t, right)
	base := right.hist.record([]byte("base"))
	left.hist.record([]byte("base"))
	left.hist.record([]byte("new"))

	o, pack := offer(t, left.hist, base.ID)
	if _, err := post(t, l, PathPush, framed(t, o, pack)); CodeOf(err) != CodeHello {
		t.Errorf("push without hello = %v; want %s", err, CodeHello)
	}
	if _, err := post(t, l, PathHello, encode(hello())); err != nil {
		t.Fatal(err)
	}
	with := func(f func(o *Offer)) []byte { p := o; f(&p); return framed(t, p, pack) }
	old := o
	old.Head = Point{ID: strings.Repeat("a", 40), Seq: 0}
	cases := []struct {
		name string
		body []byte
		code Code
	}{
		{"nothing", nil, CodeCut},
		{"half an offer", framed(t, o, pack)[:40], CodeCut},
		{"no JSON", append([]byte{0, 0, 0, 4}, "{{{{"...), CodeGarbage},
		{"endless offer", []byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3}, CodeGarbage},
		{"all zeros", make([]byte, 60<<10), CodeGarbage},
		{"another branch", with(func(o *Offer) { o.Branch = state.Live }), CodeGarbage},
		{"no commit", with(func(o *Offer) { o.Head = Point{} }), CodeGarbage},
		{"a path for a pack", with(func(o *Offer) { o.Pack = "../../etc/passwd" }), CodeGarbage},
		{"negative size", with(func(o *Offer) { o.Size = -1 }), CodeGarbage},
		{"longer than told", with(func(o *Offer) { o.Size = 3 }), CodeGarbage},
		{"wrong checksum", with(func(o *Offer) { o.Pack = strings.Repeat("0", 64) }), CodeGarbage},
		{"other content", framed(t, o, bytes.Repeat([]byte("x"), len(pack))), CodeGarbage},
		{"another head", with(func(o *Offer) { o.Head.ID = strings.Repeat("a", 40) }), CodeGarbage},
		{"shorter than told", with(func(o *Offer) { o.Size++ }), ""}, // a piece: is kept
		{"beyond what is here", with(func(o *Offer) { o.Offset = 100; o.Size = 100 + int64(len(pack)) }), CodeBase},
		{"too large", with(func(o *Offer) { o.Size = 2 << 20 }), CodeSize},
		{"too large a request", make([]byte, 100<<10), CodeSize},
		{"builds on something else", with(func(o *Offer) { o.Base = strings.Repeat("b", 40) }), CodeBase},
		{"older", with(func(o *Offer) { o.Head.Seq = 0; o.Head.Seq++; o.Base = "" }), CodeBase},
		{"another set", with(func(o *Offer) { o.Set = "stolen" }), CodeRole},
		{"newer protocol", with(func(o *Offer) { o.Protocol++ }), CodeProtocol},
	}
	for _, c := range cases {
		if _, err := post(t, l, PathPush, c.body); CodeOf(err) != c.code {
			t.Errorf("%s: push = %v (%s); want %s", c.name, err, CodeOf(err), c.code)
		}
		if h, _ := right.hist.Head(state.Site); h.ID != base.ID {
			t.Fatalf("%s: change %d was taken", c.name, h.Seq)
		}
	}
	right.hist.fail = &history.DivergedError{Branch: "site"}
	if _, err := post(t, l, PathPush, framed(t, o, pack)); CodeOf(err) != CodeDiverged {
		t.Errorf("push that history finds diverged = %v", err)
	}
	checkEmpty(t, right.dir, incoming)

	// The same again, as it should be; and replays of it.
	right.hist.fail = nil
	recv.OnReceived(nil)
	if st, err := post(t, l, PathPush, framed(t, o, pack)); err != nil || st.Head != o.Head {
		t.Fatalf("push = %+v, %v", st, err)
	}
	if f := recv.Findings(); len(f) != 0 {
		t.Errorf("findings after a push that was taken: %+v", f)
	}
	if _, err := post(t, l, PathPush, framed(t, o, pack)); CodeOf(err) != CodeBase {
		t.Errorf("the same push again = %v; want %s with the state", err, CodeBase)
	}
	replay := o
	replay.Base, replay.Head = "", pointOf(base)
	if _, err := post(t, l, PathPush, framed(t, replay, pack)); CodeOf(err) != CodeReplayed {
		t.Errorf("an older state = %v; want %s", err, CodeReplayed)
	}
	if f := recv.Findings(); len(f) != 1 || f[0].ID != "sync-replayed" {
		t.Errorf("findings = %+v", f)
	}
}

func TestPrimaryRefuses(t *testing.T) {
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	recv := right.receive(fast, nil)
	recv.Stop()
	if _, err := post(t, left.line(t, right), PathHello, encode(hello())); CodeOf(err) != CodeStopped {
		t.Errorf("hello at a stopped receiver = %v", err)
	}
	ok(t, recv.Start(testSite, roles.Primary))
	_, err := post(t, left.line(t, right), PathHello, encode(hello()))
	if CodeOf(err) != CodePrimaries || !strings.Contains(err.Error(), "itself the primary") {
		t.Errorf("hello at a primary = %v", err)
	}
	if f := recv.Findings(); len(f) != 1 || f[0].Severity != "critical" {
		t.Errorf("findings = %+v", f)
	}
}

// After a swap the set is the source: the other server brings the same set, and an old half of it does not get in.
func TestSwapAndLineage(t *testing.T) {
	rig := newRig(t, 3)
	left, right, third := rig.all[0], rig.all[1], rig.all[2]
	clock := &skewed{}
	recv := right.receive(fast, clock)
	_, err := post(t, left.line(t, right), PathHello, encode(hello()))
	ok(t, err)
	// A member left: the lineage has another name; then the set moves to another server.
	renamed := source()
	renamed.Lineage = []string{lineage1, lineage0}
	left.setAttestation(roles.Attestation{Server: "left", Reachable: true})
	third.setAttestation(attest("third", testSet, lineage1))
	clock.add(time.Minute)
	h := hello()
	h.Source = renamed
	_, err = post(t, third.line(t, right), PathHello, encode(h))
	ok(t, err)
	// The old half comes up in the first server.
	third.setAttestation(roles.Attestation{Server: "third"})
	left.setAttestation(attest("left", testSet, lineage0))
	clock.add(time.Minute)
	recv.Stop() // it is remembered
	ok(t, recv.Start(testSite, roles.Secondary))
	if _, err = post(t, left.line(t, right), PathHello, encode(hello())); CodeOf(err) != CodeLineage || !strings.Contains(err.Error(), "older state") {
		t.Errorf("hello of the old half = %v; want %s", err, CodeLineage)
	}
	// An operator gives the newer one up.
	h = hello()
	h.GaveUp = []string{lineage1}
	_, err = post(t, left.line(t, right), PathHello, encode(h))
	ok(t, err)
}

func TestStrangers(t *testing.T) {
	other := newRig(t, 2) // another site
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	right.receive(fast, nil)
	stranger := other.all[0]
	stranger.port = rig.port

	// A key that is not pinned.
	for _, path := range []string{PathHello, PathPush} {
		ctx := t.Context()
		res, err := stranger.line(t, right).Do(ctx, http.MethodPost, path, strings.NewReader("{}"), 2)
		ok(t, err)
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s by a stranger = %s", path, res.Status)
		}
	}
	// Our server installed anew: its former certificate counts no more, on connections that are open neither.
	l := left.line(t, right)
	_, err := post(t, l, PathHello, encode(hello()))
	ok(t, err)
	anew := left.self
	anew.Cert = stranger.self.Cert
	time.Sleep(10 * time.Millisecond) // another time of the file
	ok(t, right.book.Pin(anew, right.self))
	if _, err = post(t, l, PathHello, encode(hello())); err == nil || !strings.Contains(err.Error(), "not pinned") {
		t.Errorf("hello with the former certificate = %v", err)
	}
	// Another machine at the address of the receiver: nothing is sent to it.
	fake := right.self
	fake.Cert = stranger.self.Cert
	wrong, err := peers.NewClient(left.id, left.port).Line(fake)
	ok(t, err)
	before := right.requests.Load()
	if _, err := wrong.Do(t.Context(), http.MethodPost, PathHello, strings.NewReader("{}"), 2); !errors.Is(err, peers.ErrNotPinned) {
		t.Errorf("hello to another machine = %v", err)
	}
	if right.requests.Load() != before {
		t.Error("a request reached another machine")
	}
}

// Requests that come byte by byte, or stop, end in bounded time and keep nobody out.
func TestSlowRequests(t *testing.T) {
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	lim := fast
	lim.Stall = 200 * time.Millisecond
	right.receive(lim, nil)
	l := left.line(t, right)
	_, err := post(t, l, PathHello, encode(hello()))
	ok(t, err)
	left.hist.record([]byte("x"))
	o, pack := offer(t, left.hist, "")
	body := framed(t, o, pack)
	for _, stop := range []int{2, 50, len(body) - 1} {
		pr, pw := io.Pipe()
		go func() { _, _ = pw.Write(body[:stop]) }()
		from := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := ask(ctx, l, http.MethodPost, PathPush, pr, int64(len(body)))
		cancel()
		_ = pw.Close()
		if d := time.Since(from); err == nil || d > 3*time.Second {
			t.Errorf("a push that stops after %d bytes = %v after %s", stop, err, d)
		}
	}
	// While one hangs in the middle of its pack, another request of the same server goes first.
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := ask(t.Context(), l, http.MethodPost, PathPush, pr, int64(len(body)))
		done <- err
	}()
	_, _ = pw.Write(body[:len(body)-1])
	time.Sleep(20 * time.Millisecond)
	from := time.Now()
	if st, err := post(t, l, PathPush, body); err != nil || st.Head != o.Head {
		t.Errorf("push beside a hanging one = %+v, %v", st, err)
	}
	if d := time.Since(from); d > 150*time.Millisecond {
		t.Errorf("push beside a hanging one took %s", d)
	}
	_ = pw.Close()
	if err := <-done; err == nil {
		t.Error("the hanging push was answered with success")
	}
}

func TestSenderIsBehind(t *testing.T) {
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	right.receive(fast, nil)
	right.hist.record([]byte("never on the primary"))
	send := left.sender(fast, nil, nil)
	left.change([]byte("x"))
	left.change([]byte("y"))
	waitFor(t, 5*time.Second, func() bool { st := send.Status()["right"]; return st.Code == CodeDiverged && st.Up }, func() string {
		return fmt.Sprintf("status = %+v", send.Status()["right"])
	})
	if h, _ := right.hist.Head(state.Site); h.Seq != 1 {
		t.Errorf("right has change %d", h.Seq)
	}
}

// By order of a person on either server the primary's line takes the place of another. Both servers tell that there is something to order.
func TestReplace(t *testing.T) {
	for _, way := range []struct {
		size int
		by   string
	}{{10, "right"}, {300_000, "right"}, {10, "left"}} {
		t.Run(fmt.Sprint(way), func(t *testing.T) {
			rig := newRig(t, 2)
			left, right := rig.all[0], rig.all[1]
			recv := right.receive(fast, nil)
			right.hist.record([]byte("never on the primary"))
			right.hist.record([]byte("nor this"))
			send := left.sender(fast, nil, nil)
			if send.Replace("right", "kept-20261122-120000") {
				t.Error("an order while there is nothing to order was taken")
			}
			c := left.change(random(way.size, 1))
			waitFor(t, 5*time.Second, func() bool { return send.Status()["right"].Code == CodeDiverged }, func() string { return "not diverged" })
			waitFor(t, 5*time.Second, func() bool { return recv.Apart() != nil && len(recv.Findings()) == 1 }, func() string { return "right does not know that it is apart" })
			if a, f := recv.Apart(), recv.Findings()[0]; a.With != "left" || a.Ours.Seq != 2 || a.Theirs.Seq != 1 || f.ID != "sync-diverged" || !strings.Contains(f.Next, "atlas resync") {
				t.Errorf("right tells %+v, %+v", a, f)
			}
			if way.by == "right" {
				recv.Replace("kept-20261122-120000")
			} else if !send.Replace("right", "kept-20261122-120000") {
				t.Fatal("the order was not taken")
			}
			right.waitHead(c)
			waitFor(t, 5*time.Second, func() bool { return recv.ordered() == "" }, func() string { return "the order is not over" })
			right.waitHead(left.change([]byte("next")))
			if st := send.Status()["right"]; st.Apart || st.Code != "" || recv.Apart() != nil || len(recv.Findings()) != 0 {
				t.Errorf("afterwards %+v, %+v, %+v", st, recv.Apart(), recv.Findings())
			}
		})
	}
}

// What a receiver cannot take is not sent again and again.
func TestFullDisk(t *testing.T) {
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	lim := fast
	lim.Backoff = 100 * time.Millisecond
	recv := right.receive(lim, nil)
	right.hist.fail = fmt.Errorf("write pack: %w", syscall.ENOSPC)
	send := left.sender(lim, nil, nil)
	left.change([]byte("x"))
	waitFor(t, 5*time.Second, func() bool { return send.Status()["right"].Code == CodeFull }, func() string { return fmt.Sprintf("%+v", send.Status()["right"]) })
	before := right.requests.Load()
	time.Sleep(600 * time.Millisecond)
	if n := right.requests.Load() - before; n > 2 {
		t.Errorf("%d requests in half of the wait", n)
	}
	if f := recv.Findings(); len(f) != 1 || f[0].ID != "sync-full" {
		t.Errorf("findings = %+v", f)
	}
	right.hist.mu.Lock()
	right.hist.fail = nil
	right.hist.mu.Unlock()
	right.waitHead(left.change([]byte("y"))) // something newer is tried at once
}
