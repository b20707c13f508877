package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/state"
)

// prober has one probe of the one service.
type prober struct {
	mu     sync.Mutex
	before Found                           // how it stood
	absent time.Time                       // until then there are no probes
	find   func(ctx context.Context) Found // what it finds; nil: Good
	runs   int
}

func (p *prober) Standing(services []string, _ time.Time) []Probed {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(services, "web") {
		return nil
	}
	return []Probed{{Service: "web", Name: "page", Title: "Static page", Found: p.before}}
}

func (p *prober) Probe(ctx context.Context, which func(service, probe string) bool) []Probed {
	p.mu.Lock()
	find, absent := p.find, time.Now().Before(p.absent)
	if !which("web", "page") || absent {
		p.mu.Unlock()
		return nil
	}
	p.runs++
	p.mu.Unlock()
	out := Probed{Service: "web", Name: "page", Title: "Static page", Found: Good, Words: "GET /: 403; expected 200"}
	if find != nil {
		out.Found = find(ctx)
	}
	return []Probed{out}
}

func (p *prober) set(before Found, find func(context.Context) Found) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before, p.find = before, find
}

func (p *prober) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runs
}

// says fails while the service's file of a server says a word.
func says(s *server, word string) func(context.Context) Found {
	return func(context.Context) Found {
		if strings.Contains(s.read(site1), word) {
			return Bad
		}
		return Good
	}
}

const site1 = "etc/web/site.conf"

// probedSite has a prober on each server.
func probedSite(t *testing.T, more func(s *server, c *Config)) (left, right *server, onLeft, onRight *prober) {
	t.Helper()
	onLeft, onRight = &prober{before: Good}, &prober{before: Good}
	left, right = siteOf(t, plan{config: func(s *server, c *Config) {
		c.Prober = onRight
		if c.Role == roles.Primary {
			c.Prober = onLeft
		}
		c.again, c.proof = time.Second, patience{runs: 2, quick: 300 * time.Millisecond, start: 2 * time.Second}
		if more != nil {
			more(s, c)
		}
	}})
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	return left, right, onLeft, onRight
}

func TestHeldByProbe(t *testing.T) {
	t.Parallel()
	left, right, p, _ := probedSite(t, nil)
	p.set(Good, says(left, "deny"))
	write(t, left.path(site1), "deny all\n")
	eventually(t, "held", func() bool { return left.engine.Status().Held != nil })
	h := left.engine.Status().Held
	if h.Service != "web" || !strings.Contains(h.Words, "“Static page” says: GET /: 403") || !slices.Contains(h.Paths, site1) {
		t.Errorf("held: %+v", h)
	}
	// The probe has told of it meanwhile, and a new Sentry knows nothing of before: it stays held.
	p.set(Bad, says(left, "deny"))
	pause()
	write(t, left.path("etc/hosts"), "later\n")
	time.Sleep(2 * time.Second)
	left.stop()
	p.set(Awaited, says(left, "deny"))
	p.mu.Lock()
	p.absent = time.Now().Add(2 * time.Second)
	p.mu.Unlock()
	left.start()
	eventually(t, "held again", func() bool { return left.engine.Status().Held != nil })
	time.Sleep(2 * time.Second)
	if got := right.read(site1) + right.read("etc/hosts"); left.engine.Status().Held == nil || strings.Contains(got, "deny") || strings.Contains(got, "later") {
		t.Errorf("right has %q", got)
	}
	if !left.finding("sync-held") {
		t.Error("no finding")
	}
	_, err := left.engine.Rollback(context.Background(), state.Rollback{Path: site1}, state.Who{Program: "atlas", User: "root"})
	must(t, err)
	eventually(t, "released", func() bool { return left.engine.Status().Held == nil && !left.finding("sync-held") })
	eventually(t, "the later change on right", func() bool { return right.read("etc/hosts") == "later\n" && right.read(site1) == "listen 80\n" })
}

// TestPowerCutBeforeVerdict: what was good before a change is known to the next engine, although the probes had not spoken when the power failed.
func TestPowerCutBeforeVerdict(t *testing.T) {
	t.Parallel()
	onLeft, onRight := &prober{before: Good}, &prober{before: Good}
	left, right := siteOf(t, plan{disk: true, config: func(s *server, c *Config) {
		c.Prober = onRight
		if c.Role == roles.Primary {
			c.Prober = onLeft
		}
		c.again = time.Second
	}})
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	asked := make(chan struct{})
	var once sync.Once
	onLeft.set(Good, func(ctx context.Context) Found {
		once.Do(func() { close(asked) })
		<-ctx.Done()
		return Bad
	})
	write(t, left.path(site1), "deny all\n")
	f, err := os.OpenFile(left.path(site1), os.O_WRONLY, 0)
	must(t, err)
	must(t, errors.Join(f.Sync(), f.Close())) // the change itself stays
	<-asked
	left.dark.Store(true)
	left.disk.cut()
	left.stop()
	left.disk.back()
	onLeft.set(Awaited, says(left, "deny"))
	left.start()
	eventually(t, "held", func() bool { return left.engine.Status().Held != nil })
	if got := right.read(site1); got != "listen 80\n" {
		t.Errorf("right has %q", got)
	}
	// And once it is let go, the next change is measured by what is then.
	onLeft.set(Awaited, nil)
	eventually(t, "released", func() bool { return left.engine.Status().Held == nil && right.read(site1) == "deny all\n" })
	eventually(t, "forgotten", func() bool {
		_, err := os.Stat(filepath.Join(left.engine.cfg.Dir, heldFile))
		return os.IsNotExist(err)
	})
}

// TestEditAndReload: sed … && service … reload. The first look at the service would meet it as it was.
func TestEditAndReload(t *testing.T) {
	t.Parallel()
	left, right, p, _ := probedSite(t, nil)
	told := time.Now().Add(500 * time.Millisecond)
	p.set(Good, func(ctx context.Context) Found {
		if time.Now().Before(told) {
			return Good
		}
		return says(left, "deny")(ctx)
	})
	write(t, left.path(site1), "deny all\n")
	eventually(t, "held", func() bool {
		if right.read(site1) != "listen 80\n" {
			t.Fatal("sent on by what a probe had found before the service was told")
		}
		return left.engine.Status().Held != nil
	})
}

// TestProbesPassAgain: what was held back goes on by itself.
func TestProbesPassAgain(t *testing.T) {
	t.Parallel()
	left, right, p, _ := probedSite(t, nil)
	p.set(Good, func(context.Context) Found { return Bad })
	write(t, left.path(site1), "slow\n")
	eventually(t, "held", func() bool { return left.engine.Status().Held != nil })
	p.set(Bad, nil)
	eventually(t, "on right", func() bool {
		return right.read(site1) == "slow\n" && left.engine.Status().Held == nil && !left.finding("sync-held")
	})
}

// TestNotHeld: one failure, what failed before, and what concerns no service.
func TestNotHeld(t *testing.T) {
	t.Parallel()
	left, right, p, _ := probedSite(t, nil)
	var once sync.Once
	p.set(Good, func(context.Context) (f Found) {
		f = Good
		once.Do(func() { f = Bad })
		return f
	})
	held := func() bool { return left.engine.Status().Held != nil }
	goes := func(text string) {
		t.Helper()
		pause()
		write(t, left.path(site1), text)
		eventually(t, text+" on right", func() bool {
			if held() {
				t.Fatal("held back: ", left.engine.Status().Held.Words)
			}
			return right.read(site1) == text
		})
	}
	goes("one lost\n")
	p.set(Bad, func(context.Context) Found { return Bad })
	goes("failed before\n")
	p.set(Awaited, func(context.Context) Found { return Bad })
	goes("not known before\n")
	p.set(Good, func(context.Context) Found { return Untold })
	goes("cannot tell\n")
	start := time.Now()
	p.set(Good, func(context.Context) Found {
		if time.Since(start) < 3*time.Second {
			return Starting
		}
		return Good
	})
	goes("is restarted\n")
	p.set(Good, func(context.Context) Found { return Bad })
	runs := p.count()
	pause()
	write(t, left.path("etc/hosts"), "no service\n")
	eventually(t, "hosts on right", func() bool { return right.read("etc/hosts") == "no service\n" })
	if got := p.count(); got != runs {
		t.Errorf("%d probes were run for a file of no service", got-runs)
	}
}

// refusals counts how often the service was told on right.
func (s *server) toldTimes(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.tells {
		if x == what {
			n++
		}
	}
	return n
}

func TestSecondaryGoesBack(t *testing.T) {
	t.Parallel()
	left, right, _, p := probedSite(t, func(s *server, c *Config) {
		if s.name == "right" {
			c.again = 4 * time.Second // tries again after 4, 8, 16 … s
		}
	})
	p.set(Good, says(right, "here not"))
	write(t, left.path(site1), "here not\n")
	eventually(t, "refused", func() bool { return right.finding("sync-refused") })
	if got := right.read(site1); got != "listen 80\n" {
		t.Errorf("right has %q", got)
	}
	for _, f := range right.findings.List() {
		if f.ID == "sync-refused" && (!strings.Contains(f.What, "“Static page” says: GET /: 403") || !strings.Contains(f.Next, "atlas rollback /"+site1)) {
			t.Errorf("finding: %+v", f)
		}
	}
	eventually(t, "left knows", func() bool { ps := left.engine.Status().Peers; return len(ps) == 1 && ps[0].State == "refused" })
	events, err := right.engine.Events(state.Query{Local: true, Limit: 1})
	must(t, err)
	if len(events) != 1 || !strings.Contains(events[0].Title, "went back") {
		t.Errorf("recorded: %+v", events)
	}
	if right.finding("sync-local-change") {
		t.Error("the way back is taken for a change by somebody")
	}
	// No loop: what is new and does not concern the service waits too.
	tells := right.toldTimes("reload web")
	pause()
	write(t, left.path("etc/hosts"), "later\n")
	time.Sleep(2 * time.Second)
	if got := right.toldTimes("reload web"); got != tells {
		t.Errorf("the service was told %d times more", got-tells)
	}
	eventually(t, "it is tried again", func() bool { return right.toldTimes("reload web") >= tells+2 })
	eventually(t, "refused again", func() bool { return right.finding("sync-refused") && right.read(site1) == "listen 80\n" })
	_, err = left.engine.Rollback(context.Background(), state.Rollback{Path: site1}, state.Who{Program: "atlas", User: "root"})
	must(t, err)
	eventually(t, "in step", func() bool {
		st := right.engine.Status()
		return st.InStep && st.Head.ID == left.head(t) && !right.finding("sync-refused") && right.read("etc/hosts") == "later\n"
	})
}

// TestSecondaryStays: a probe that failed before does not undo a change, nor one that fails with the files from before too.
func TestSecondaryStays(t *testing.T) {
	t.Parallel()
	left, right, _, p := probedSite(t, nil)
	p.set(Bad, func(context.Context) Found { return Bad })
	write(t, left.path(site1), "1\n")
	inStep := func() bool { return right.engine.Status().InStep && right.head(t) == left.head(t) }
	eventually(t, "live", func() bool { return right.read(site1) == "1\n" && inStep() })
	p.set(Good, func(context.Context) Found { return Bad })
	pause()
	write(t, left.path(site1), "2\n")
	eventually(t, "went back", func() bool { return right.finding("sync-refused") })
	eventually(t, "live at the second try", func() bool { return right.read(site1) == "2\n" && inStep() && !right.finding("sync-refused") })
}

// TestCutWhileProbing ends the engine while it probes; the next, which knows nothing of before, judges by the same.
func TestCutWhileProbing(t *testing.T) {
	t.Parallel()
	left, right, _, p := probedSite(t, nil)
	asked := make(chan struct{})
	var once sync.Once
	p.set(Good, func(ctx context.Context) Found {
		once.Do(func() { close(asked) })
		<-ctx.Done()
		return Bad
	})
	write(t, left.path(site1), "here not\n")
	<-asked
	if st := right.engine.Status(); right.read(site1) != "here not\n" || st.InStep {
		t.Errorf("while it is probed: %q, %+v", right.read(site1), st)
	}
	right.stop()
	p.set(Awaited, says(right, "here not"))
	right.start()
	eventually(t, "went back", func() bool { return right.finding("sync-refused") && right.read(site1) == "listen 80\n" })
	p.set(Awaited, nil)
	eventually(t, "mended by itself", func() bool { return right.engine.Status().InStep && right.read(site1) == "here not\n" })
}

// TestCutOnTheWayBack ends the engine while the service is told of the files from before.
func TestCutOnTheWayBack(t *testing.T) {
	t.Parallel()
	var stop chan struct{}
	var mu sync.Mutex
	left, right, _, p := probedSite(t, func(s *server, c *Config) {
		if s.name == "right" {
			c.Services = services(func(ctx context.Context, name, verb string) error {
				mu.Lock()
				ch := stop
				mu.Unlock()
				if ch != nil && s.read(site1) == "listen 80\n" {
					close(ch)
					<-ctx.Done()
					return ctx.Err()
				}
				return s.Do(ctx, name, verb)
			})
		}
	})
	mu.Lock()
	stop = make(chan struct{})
	mu.Unlock()
	p.set(Good, says(right, "here not"))
	write(t, left.path(site1), "here not\n")
	<-stop
	right.stop()
	mu.Lock()
	stop = nil
	mu.Unlock()
	tells := right.toldTimes("reload web")
	right.start()
	eventually(t, "refused", func() bool { return right.finding("sync-refused") && right.read(site1) == "listen 80\n" })
	if right.toldTimes("reload web") == tells {
		t.Error("the service was not told of the files from before")
	}
	if right.finding("sync-local-change") {
		t.Error("the way back is taken for a change by somebody")
	}
}

type services func(ctx context.Context, name, verb string) error

func (f services) Do(ctx context.Context, name, verb string) error { return f(ctx, name, verb) }

var _ apply.Services = services(nil)
