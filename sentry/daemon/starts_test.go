package daemon

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/accept"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/rehearsal"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/verify"
)

// fakeLine is a Synchronizer whose live commit a test sets.
type fakeLine struct {
	mu       sync.Mutex
	live     string
	still    bool
	unproven []rehearsal.Unproven // while a proof has another commit than live
}

func (f *fakeLine) is(live string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = live
}

func (f *fakeLine) Begun() string { return f.now() }
func (f *fakeLine) Waits() string { return "" }
func (f *fakeLine) now() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live
}

func (f *fakeLine) Still(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.still = true
	return f.live, nil
}

func (f *fakeLine) Live() string { return f.now() }

func (f *fakeLine) Resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.still = false
}

func (f *fakeLine) Unproven(proofs map[string]ledger.Proof) []rehearsal.Unproven {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []rehearsal.Unproven
	for _, u := range f.unproven {
		if p, ok := proofs[u.Service]; ok && p.Live != f.live {
			out = append(out, u)
		}
	}
	return out
}

// Rehearse implements rehearsal.Init: the services start anew.
func (f *fakeInit) Rehearse(_ context.Context, services []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.Role != roles.Secondary {
		return errors.New("this server is the primary")
	}
	f.rehearsed = append(f.rehearsed, strings.Join(services, " "))
	f.state.Services = slices.Clone(f.state.Services) // others read the old one
	for i := range f.state.Services {
		f.state.Services[i].Since = time.Now()
		if f.broken != "" {
			f.state.Services[i].State, f.state.Services[i].Error, f.state.Ready = "failed", f.broken, false
		}
	}
	return nil
}

// site of two boxes that know each other, both ready; the web server is one for both.
func twoBoxes(t *testing.T) (left, right *box) {
	t.Helper()
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }), ReadHeaderTimeout: time.Second}
	l := listen(t)
	go web.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(func() { _ = web.Close() })
	port := strconv.Itoa(portOf(l))
	ports := freePorts(t)
	left = newBox(t, 1, "left", "127.0.0.21", roles.Primary, ports, port)
	right = newBox(t, 2, "right", "127.0.0.22", roles.Secondary, ports, port)
	for _, b := range []*box{left, right} {
		b.daemon.starts.runner.SetPace(20*time.Millisecond, 16*time.Second)
	}
	left.run(t.Context(), t)
	off, err := left.daemon.JoinCode(false)
	must(t, err)
	var reply peers.JoinReply
	eventually(t, "left listens", func() bool {
		reply, err = right.join(t.Context(), t, left, off.Code, strconv.Itoa(ports[0]))
		return err == nil
	})
	right.adopt(t, reply)
	line := right.daemon.cfg.FakeLine.(*fakeLine)
	line.is("") // the Synchronizer has not looked through what is there
	right.run(t.Context(), t)
	eventually(t, "the other server's services work", func() bool {
		st := right.daemon.starts.state()
		if st == nil {
			return false
		}
		bad, _ := right.daemon.starts.proven([]string{"web"}, st.Started, st)
		return len(bad) == 0
	})
	for range 3 {
		right.daemon.starts.look(t.Context())
		for _, e := range right.daemon.Ledger() {
			if e.Server == "right" && !e.Done.IsZero() {
				t.Fatalf("a start of nobody knows what counts: %+v", e)
			}
		}
	}
	line.is("c1")
	eventually(t, "both ready", func() bool {
		return left.daemon.Site().Readiness.Ready && right.daemon.Site().Readiness.Ready
	})
	return left, right
}

func reasonsOf(d *Daemon) string {
	var out []string
	for _, r := range d.Site().Readiness.Reasons {
		out = append(out, r.ID)
	}
	return strings.Join(out, " ")
}

// TestProofAndRehearsal: a boot proves the services; a change asks for a rehearsal, which is done on order and proves them again; one that fails is
// told on both servers, and a later good one ends that.
func TestProofAndRehearsal(t *testing.T) {
	left, right := twoBoxes(t)
	list := right.daemon.Ledger()
	var own []ledger.Entry
	for _, e := range list {
		if e.Server == "right" {
			own = append(own, e)
		}
	}
	if len(own) != 1 || own[0].Kind != ledger.Start || !own[0].Good || own[0].Live != "c1" || len(own[0].Seen) != 2 || own[0].Took == 0 || own[0].Services[0].Name != "web" {
		t.Fatalf("ledger after the boot = %+v; want one good start, seen from both", own)
	}

	at := time.Now()
	line := right.daemon.cfg.FakeLine.(*fakeLine)
	line.mu.Lock()
	line.live, line.unproven = "c2", []rehearsal.Unproven{{Service: "web", Title: "Web", Since: at, Last: at, Change: "changed /etc/apache2/envvars", Who: "vi, by anna"}}
	line.mu.Unlock()
	eventually(t, "left tells that the change is open", func() bool {
		open := left.daemon.Site().Readiness.Open
		return len(open) == 1 && strings.Contains(open[0], "changed /etc/apache2/envvars")
	})
	if got := reasonsOf(left.daemon); got != "" {
		t.Errorf("reasons while a change is open: %s", got)
	}

	if _, err := left.daemon.starts.Rehearse(t.Context(), nil, "anna"); err == nil || !strings.Contains(err.Error(), "is the primary") {
		t.Errorf("rehearsal on the primary: %v; want a refusal", err)
	}
	if _, err := right.daemon.starts.Rehearse(t.Context(), []string{"ghost"}, "anna"); err == nil || !strings.Contains(err.Error(), "runs no service") {
		t.Errorf("rehearsal of what is not there: %v", err)
	}
	rehearse := func(broken string) ledger.Entry {
		t.Helper()
		right.init.mu.Lock()
		right.init.broken = broken
		right.init.mu.Unlock()
		from := time.Now()
		o, err := right.daemon.starts.Rehearse(t.Context(), []string{"web"}, "anna")
		must(t, err)
		if !o.All || strings.Join(o.Services, " ") != "web" {
			t.Errorf("order = %+v", o)
		}
		var last *ledger.Entry
		eventually(t, "the rehearsal is over", func() bool {
			last = right.daemon.rehearsal().Last
			return last != nil && last.At.After(from)
		})
		return *last
	}
	if e := rehearse(""); !e.Good || e.Live != "c2" || e.By != "anna" || len(e.Seen) != 2 {
		t.Errorf("rehearsal = %+v; want good, with c2, seen from both", e)
	}
	eventually(t, "nothing is open on left", func() bool { s := left.daemon.Site().Readiness; return s.Ready && len(s.Open) == 0 })

	if e := rehearse("apache2: Usage: apache2 [-D name]"); e.Good || !strings.Contains(e.Words, "Usage: apache2") {
		t.Errorf("failed rehearsal = %+v", e)
	}
	for _, b := range []*box{left, right} {
		eventually(t, b.name+" tells it", func() bool {
			for _, f := range b.daemon.Site().Findings {
				if f.ID == "cold-start-failed-web-right" && f.Severity == "critical" && strings.Contains(f.What, "Usage: apache2") && strings.Contains(f.Next, "atlas rollback --service web") {
					return strings.HasPrefix(reasonsOf(b.daemon), "cold-start-failed-web-right")
				}
			}
			return false
		})
	}
	right.init.set(func(s *initapi.State) { s.Ready, s.Services[0].State, s.Services[0].Error = true, "ready", "" })
	if e := rehearse(""); !e.Good {
		t.Errorf("rehearsal after mending = %+v", e)
	}
	eventually(t, "left is ready again", func() bool { return left.daemon.Site().Readiness.Ready })
	if line.mu.Lock(); line.still {
		t.Error("the Synchronizer is still held")
	}
	line.mu.Unlock()

	// The set goes into left, which was never its server: a swap.
	book, err := ledger.Open(filepath.Join(right.daemon.cfg.SetDir, "sentry", "ledger.json"))
	must(t, err)
	all, _ := book.List()
	if from := ledger.RanBefore(all, "set-right"); from != "right" {
		t.Errorf("the set was last run by %q", from)
	}
}

// TestAcceptOnBoth: what is accepted on one server is so on the other, and taken back there.
func TestAcceptOnBoth(t *testing.T) {
	left, right := twoBoxes(t)
	left.init.set(func(s *initapi.State) {
		s.Findings = []initapi.Finding{{ID: "hot", Severity: "critical", What: "The processor is too hot.", Since: time.Now()}}
	})
	eventually(t, "it is no", func() bool { return reasonsOf(right.daemon) == "hot-left" })
	a := accept.Acceptance{Finding: "hot-left", Who: "anna", Why: "the fan is ordered", Until: time.Now().Add(time.Hour)}
	if _, err := right.daemon.accept(accept.Acceptance{Finding: "ghost", Who: "anna", Why: "x", Until: a.Until}); err == nil {
		t.Error("a finding that is not there was accepted")
	}
	if _, err := right.daemon.accept(a); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*box{left, right} {
		eventually(t, b.name+" is ready, with it beside", func() bool {
			r := b.daemon.Site().Readiness
			return r.Ready && len(r.Accepted) == 1 && r.Accepted[0].Accepted.Why == "the fan is ordered"
		})
	}
	if _, err := left.daemon.accepted.End("hot-left", "otto", time.Now().UTC()); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*box{left, right} {
		eventually(t, b.name+" counts it again", func() bool { return reasonsOf(b.daemon) == "hot-left" })
	}
	right.init.set(func(s *initapi.State) { s.State, s.Set, s.Role = initapi.Holding, nil, "" })
	eventually(t, "right holds", func() bool { return strings.Contains(reasonsOf(left.daemon), "holding-right") })
	if _, err := left.daemon.accept(accept.Acceptance{Finding: "holding-right", Who: "anna", Why: "x", Until: a.Until}); err == nil || !strings.Contains(err.Error(), "nothing to swap with") {
		t.Errorf("no secondary was accepted: %v", err)
	}
}

func TestUnprovenResults(t *testing.T) {
	now := time.Now()
	ready := map[string]time.Time{"web": now}
	res := func(service, target string, status verify.Status, at time.Duration) verify.Result {
		return verify.Result{Target: target, Service: service, Title: "Page", Status: status, Evidence: "e", At: now.Add(at)}
	}
	minor := res("web", "right", verify.Fail, time.Second)
	minor.Minor = true
	for _, c := range []struct {
		name  string
		r     verify.Result
		ahead time.Duration
		want  string
	}{
		{"good", res("web", "right", verify.Pass, time.Second), 0, ""},
		{"good before", res("web", "right", verify.Pass, -time.Second), 0, "it was not made since"},
		{"failed before", res("web", "right", verify.Fail, -time.Second), 0, "it was not made since"},
		{"good by a clock that is behind", res("web", "right", verify.Pass, -time.Minute), -2 * time.Minute, ""},
		{"good before, by a clock that is ahead", res("web", "right", verify.Pass, time.Minute), 2 * time.Minute, "it was not made since"},
		{"fails", res("web", "right", verify.Fail, time.Second), 0, "e!"},
		{"warns", res("web", "right", verify.Warn, time.Second), 0, ""},
		{"not applicable", res("web", "right", verify.NotApplicable, time.Second), 0, ""},
		{"skipped", res("web", "right", verify.Skipped, time.Second), 0, "e"},
		{"unknown", res("web", "right", verify.Unknown, time.Second), 0, "e"},
		{"of another server", res("web", "left", verify.Fail, time.Second), 0, ""},
		{"of another service", res("db", "right", verify.Fail, time.Second), 0, ""},
		{"minor", minor, 0, ""},
	} {
		got := ""
		for _, b := range unproven([]verify.Result{c.r}, "right", ready, c.ahead) {
			got += b.Words
			if b.Fails {
				got += "!"
			}
		}
		if got != c.want {
			t.Errorf("%s: %q; want %q", c.name, got, c.want)
		}
	}
}

// TestSwapNoticed: a set whose last start was in another server was swapped.
func TestSwapNoticed(t *testing.T) {
	b := newBox(t, 1, "left", "127.0.0.31", roles.Primary, freePorts(t), "1")
	st := serving("left", "127.0.0.31", roles.Primary)
	start := func(server string) ledger.Entry {
		return ledger.Entry{Kind: ledger.Start, Server: server, Set: st.Set.ID, At: time.Now()}
	}
	rehearsal := start("left")
	rehearsal.Kind = ledger.Rehearsal
	for _, c := range []struct {
		name string
		list []ledger.Entry
		want string
	}{
		{"first start of all", nil, ""},
		{"again here", []ledger.Entry{start("left"), start("right")}, ""},
		{"from the other server", []ledger.Entry{start("right"), start("left")}, "right"},
		{"a rehearsal is no start", []ledger.Entry{rehearsal, start("right")}, "right"},
		{"another set", []ledger.Entry{{Kind: ledger.Start, Server: "right", Set: "other"}}, ""},
	} {
		if e := b.daemon.starts.begun("x", c.list, &st); e.From != c.want || e.Swap() != (c.want != "") || e.Role != roles.Primary {
			t.Errorf("%s: %+v; want from %q", c.name, e, c.want)
		}
	}
}

// TestWithFailed: what did not start is to be rehearsed again, and soon if somebody has changed it since.
func TestWithFailed(t *testing.T) {
	at := time.Now().Add(-time.Hour)
	f := &ledger.Entry{At: at, Live: "c2", Services: []ledger.Service{{Name: "web", Title: "Web"}, {Name: "db"}}}
	fix := rehearsal.Unproven{Service: "web", Title: "Web", Since: at.Add(time.Minute), Last: at.Add(time.Minute)}
	for _, c := range []struct {
		name string
		list []rehearsal.Unproven
		line line
		want []time.Duration // Last of web and db, after at
	}{
		{"proven before", nil, &fakeLine{live: "c2"}, []time.Duration{0, 0}},
		{"corrected", nil, &fakeLine{live: "c3", unproven: []rehearsal.Unproven{fix}}, []time.Duration{time.Minute, 0}},
		{"changed before", []rehearsal.Unproven{{Service: "web", Last: at.Add(-time.Hour)}}, &fakeLine{live: "c3", unproven: []rehearsal.Unproven{fix}}, []time.Duration{time.Minute, 0}},
		{"not known", nil, nil, []time.Duration{0, 0}},
	} {
		got := withFailed(c.list, f, c.line)
		if len(got) != 2 || got[0].Service != "web" || got[0].Last.Sub(at) != c.want[0] || got[1].Last.Sub(at) != c.want[1] {
			t.Errorf("%s: %+v; want changes after %v", c.name, got, c.want)
		}
	}
	if got := withFailed(nil, nil, nil); got != nil {
		t.Errorf("nothing failed: %+v", got)
	}
}

func TestTries(t *testing.T) {
	now := time.Now()
	e := func(ago time.Duration, good bool) ledger.Entry {
		return ledger.Entry{Server: "right", Done: now.Add(-ago), Good: good}
	}
	for n, list := range [][]ledger.Entry{
		{},
		{e(1, false), e(2, true), e(3, false)},
		{{Server: "right"}, e(1, false), {Server: "left", Good: true, Done: now}, e(2, false)},
	} {
		at, got := tries(list, "right")
		if got != n || n > 0 && !at.Equal(now.Add(-1)) {
			t.Errorf("tries = %v, %d; want %d", at, got, n)
		}
	}
	if got := newest(append(make([]ledger.Entry, 20), ledger.Entry{ID: "swap", Kind: ledger.Start, From: "left", Good: true, Role: roles.Primary})); len(got) != mostTold+1 || got[mostTold].ID != "swap" {
		t.Errorf("newest = %d entries; want %d and the swap", len(got), mostTold)
	}
	if s := (site.Site{}); s.Readiness.Ready {
		t.Error("an empty site is ready")
	}
}

// TestProofOfForms: a start proves a service for the form that its data had then. One that has made them proves it for what it made.
func TestProofOfForms(t *testing.T) {
	for _, c := range []struct {
		then, now int
		proven    bool
	}{{0, 0, true}, {0, 17, true}, {17, 17, true}, {15, 17, false}, {17, 15, false}, {17, 0, false}} {
		s := &starts{noticed: map[string]time.Time{}}
		st := &initapi.State{Forms: []initapi.DataForm{{Service: "db", Form: c.now}}}
		got := s.unproven(nil, st, []initapi.Service{{Name: "db", Title: "Database"}}, map[string]ledger.Proof{"db": {Service: "db", Form: c.then}}, time.Now())
		if (len(got) == 0) != c.proven {
			t.Errorf("data of form %d at the start and %d now: %+v; want it proven: %v", c.then, c.now, got, c.proven)
		}
	}
}
