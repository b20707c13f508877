package verify

import (
	"context"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestStanding gives runs in a row, a second apart, and wants what stands after each.
func TestStanding(t *testing.T) {
	runs := map[byte]Outcome{
		'p': {Status: Pass}, 'w': warning("slow", ""), 'f': failure("500", ""), 'a': alarm("let in", ""), 'u': unknown("?", ""), 's': {Status: Skipped},
		'r': failed("connect", syscall.ECONNREFUSED, ""), 't': failed("login", context.DeadlineExceeded, ""),
	}
	for _, c := range []struct{ name, runs, want string }{
		{"one lost packet", "pfp", "PPP"},
		{"two", "pffp", "PPPP"},
		{"dead", "pfffp", "PPPFP"},
		{"refused twice", "prr", "PPF"},
		{"silent through all its time, twice", "ptt", "PPF"},
		{"let in what must not be", "pap", "PFP"},
		{"a lost packet of ping", "pwp", "PPP"},
		{"warns", "pwww", "PPPW"},
		{"warns, then fails", "pwwwff", "PPPWWW"},
		{"warns and fails by turns", "pwfwfwf", "PPPWWWW"},
		{"works again more or less", "pfffw", "PPPFW"},
		{"fails from the start", "fff", "??F"},
		{"the observer did not know", "pfufff", "PPUUUF"},
		{"is started", "psfffp", "PSSSFP"},
	} {
		var s standing
		got := ""
		for i := range len(c.runs) {
			s.add(runs[c.runs[i]], time.Unix(int64(i), 0), time.Second/2)
			word := "?"
			if s.stands != "" {
				word = strings.ToUpper(string(s.stands[:1]))
			}
			got += word
		}
		if got != c.want {
			t.Errorf("%s: %s stands as %s; want %s", c.name, c.runs, got, c.want)
		}
	}
	// Asked again and again at once, it is the same trouble.
	var s standing
	for i := range 100 {
		s.add(runs['f'], time.Unix(0, int64(i)), time.Second/2)
	}
	if s.stands != "" {
		t.Errorf("100 failures within 100 ns stand as %s; want nothing yet", s.stands)
	}
}

func TestFlapping(t *testing.T) {
	same := strings.Repeat("p", 21)
	for _, c := range []struct {
		name, runs string
		changed    int
		want       bool
	}{
		{"never", same, 0, false},
		{"one failure in 21", "pppppppppppppppppppfp", 2, false},
		{"every other run", "pfpfpfpfpfpfpfpfpfpfp", 20, true},
		{"young, and often", "pfpfpfpfpfp", 10, true},
		{"was so, and has been calm for a while", "pfpfpfpfpfpfpfpfpfpfp" + "pppppppppp", 10, true},
		{"was so, and is calm", "pfpfpfpfpfpfpfpfpfpfp" + same, 0, false},
	} {
		var s standing
		for i := range len(c.runs) {
			o := Outcome{Status: Pass, Evidence: "200"}
			if c.runs[i] == 'f' {
				o = failure("500", "")
			}
			s.add(o, time.Unix(int64(i), 0), 0)
		}
		if s.flapping != c.want || changes(s.recent) != c.changed {
			t.Errorf("%s: flapping %v, %d changes; want %v, %d", c.name, s.flapping, changes(s.recent), c.want, c.changed)
		}
		want := Pass
		if c.want {
			want = Warn
			if words, next := s.words(Outcome{Status: Pass, Evidence: "200"}); !strings.Contains(words, "comes and goes") || next == "" {
				t.Errorf("%s is told as %q, %q", c.name, words, next)
			}
		}
		if s.stands != want {
			t.Errorf("%s: stands as %s; want %s", c.name, s.stands, want)
		}
	}
	if f := flaps([]Status{Pass, Fail}); f < 0.05 || f > 0.061 {
		t.Errorf("the newest run alone counts %.3f; want 1.2 of 20", f)
	}
}

// TestSeconds is the promise in time: a lost packet is no alarm, and a dead service stands as failed within ten seconds at the usual
// schedule, whether it refuses or says nothing of why.
func TestSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var outcome atomic.Value
		outcome.Store(Outcome{Status: Pass})
		alive := atomic.Bool{}
		alive.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		r := NewRunner(Settings{Observer: "left"})
		c := check("page", func(context.Context) Outcome { return outcome.Load().(Outcome) })
		c.Watch = func(context.Context) error {
			if alive.Load() {
				return nil
			}
			return syscall.ECONNREFUSED
		}
		r.Set(ctx, []Check{c})
		time.Sleep(time.Minute)
		stood := func() Status { return result(t, r, "page").Standing() }
		if stood() != Pass {
			t.Fatalf("after a minute: %+v", result(t, r, "page"))
		}
		for _, dead := range []Outcome{failed("connect", syscall.ECONNREFUSED, ""), failure("500", "")} {
			outcome.Store(dead)
			alive.Store(false)
			from := time.Now()
			soft := time.Duration(0)
			for stood() != Fail && time.Since(from) < time.Minute {
				if soft == 0 && result(t, r, "page").Soft() {
					soft = time.Since(from)
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Logf("%s: seen after %s, stands after %s", dead.Evidence, soft, time.Since(from))
			if took := time.Since(from); took > 10*time.Second || soft == 0 || soft >= took {
				t.Errorf("%s: soft after %s, stands after %s; want within 10 s, and soft before", dead.Evidence, soft, took)
			}
			outcome.Store(Outcome{Status: Pass})
			alive.Store(true)
			from = time.Now()
			for stood() != Pass && time.Since(from) < time.Minute {
				time.Sleep(10 * time.Millisecond)
			}
			if took := time.Since(from); took > 6*time.Second {
				t.Errorf("%s: works again after %s; want within 6 s", dead.Evidence, took)
			}
			time.Sleep(30 * time.Minute)
		}
		cancel()
		synctest.Wait()
	})
}

// TestLostPackets lets every tenth run fail, by chance of a fixed seed, for a day: it never stands.
func TestLostPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n, lost := 0, 0
		var r *Runner
		r = NewRunner(Settings{Changed: func() {
			if s := result(t, r, "page"); s.Standing() == Fail || s.Standing() == Warn {
				t.Errorf("stands as %s at %s: %+v", s.Standing(), s.At, s)
			}
		}})
		r.Set(ctx, []Check{check("page", func(context.Context) Outcome {
			n++
			if n%10 == 0 {
				lost++
				return failure("reset by peer", "")
			}
			return Outcome{Status: Pass}
		})})
		time.Sleep(24 * time.Hour)
		cancel()
		synctest.Wait()
		if n < 2880 || lost < 280 {
			t.Errorf("%d runs, %d lost; want a day of them", n, lost)
		}
	})
}

// TestSiblings: what fails has the other checks of its service run, and no others.
func TestSiblings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var bad atomic.Bool
		run := func(context.Context) Outcome {
			if bad.Load() {
				return failure("500", "")
			}
			return Outcome{Status: Pass}
		}
		r := NewRunner(Settings{})
		slow := check("form", run)
		slow.Every = time.Hour
		other := check("mail", run)
		other.Service, other.Every = "mail", time.Hour
		r.Set(ctx, []Check{check("page", run), slow, other})
		time.Sleep(time.Second)
		bad.Store(true)
		time.Sleep(40 * time.Second)
		for probe, want := range map[string]Status{"page": Fail, "form": Fail, "mail": Pass} {
			if got := result(t, r, probe).Standing(); got != want {
				t.Errorf("%s stands as %s; want %s", probe, got, want)
			}
		}
		cancel()
		synctest.Wait()
	})
}

// TestObserverNotWell: what was seen while the clock jumped or the observer stood still is no evidence.
func TestObserverNotWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var set atomic.Int64 // by which the clock was set
		r := NewRunner(Settings{Observer: "left", Now: func() time.Time { return time.Now().Add(time.Duration(set.Load())) }})
		r.Set(ctx, []Check{check("page", func(context.Context) Outcome { return Outcome{Status: Pass} })})
		time.Sleep(time.Minute)
		for _, d := range []time.Duration{time.Hour, -2 * time.Hour} {
			set.Add(int64(d))
			for end := time.Now().Add(clockLook + time.Millisecond); result(t, r, "page").Standing() != Unknown && time.Now().Before(end); time.Sleep(time.Millisecond) {
			}
			if got := result(t, r, "page"); got.Standing() != Unknown || !strings.Contains(got.Evidence, "the clock of left jumped") {
				t.Errorf("clock set by %s: %+v; want unknown", d, got)
			}
			time.Sleep(3 * time.Second)
			if got := result(t, r, "page"); got.Standing() != Pass || got.Stale(r.set.Now()) {
				t.Errorf("a little later: %+v; want pass", got)
			}
		}
		if got := r.doubt(failure("x", ""), 30*time.Second, 10*time.Second, 30*time.Second); got.Status != Unknown || !strings.Contains(got.Evidence, "left stood still for 20s") {
			t.Errorf("a run that took 20 s too long: %+v", got)
		}
		if got := r.doubt(failure("x", ""), 11*time.Second, 10*time.Second, 11*time.Second); got.Status != Fail {
			t.Errorf("a run that took its time: %+v", got)
		}
		if got := r.doubt(Outcome{Status: Pass}, time.Second, 10*time.Second, 5*time.Second); got.Status != Unknown {
			t.Errorf("the clock was set while it ran: %+v", got)
		}
		cancel()
		synctest.Wait()
	})
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for age, want := range map[time.Duration]bool{time.Second: false, -time.Second: false, 99 * time.Second: false, 101 * time.Second: true, -11 * time.Second: true} {
		if got := (Result{At: now.Add(-age), Every: 30 * time.Second}).Stale(now); got != want {
			t.Errorf("a result %s old: stale %v; want %v", age, got, want)
		}
	}
}

// TestHung: a run that hangs for ever is left behind once, not again each time, and delays nobody.
func TestHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		var started, others atomic.Int64
		r := NewRunner(Settings{})
		r.Set(ctx, []Check{
			check("deaf", func(context.Context) Outcome { started.Add(1); <-release; return Outcome{Status: Pass} }),
			check("page", func(context.Context) Outcome { others.Add(1); return Outcome{Status: Pass} }),
		})
		time.Sleep(10 * time.Minute)
		if got := result(t, r, "deaf"); started.Load() != 1 || got.Standing() != Fail || !strings.Contains(got.Evidence, "still hangs") {
			t.Errorf("started %d times, %+v; want once, failed, and told", started.Load(), got)
		}
		if n := others.Load(); n < 18 || n > 25 {
			t.Errorf("the other ran %d times in 10 min; want about 20", n)
		}
		close(release)
		time.Sleep(2 * time.Minute)
		if got := result(t, r, "deaf"); got.Standing() != Pass {
			t.Errorf("after it came back: %+v", got)
		}
		cancel()
		synctest.Wait()
	})
}

// TestSteps: a result tells how long each part took, and at which a silent service hung.
func TestSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var hang atomic.Bool
		r := NewRunner(Settings{})
		c := check("page", func(ctx context.Context) Outcome {
			begin(ctx, stepConnect)
			time.Sleep(time.Millisecond)
			begin(ctx, stepLogin)
			time.Sleep(2 * time.Millisecond)
			begin(ctx, stepConnect)
			time.Sleep(3 * time.Millisecond)
			begin(ctx, stepTransaction)
			if hang.Load() {
				<-ctx.Done()
				return failed("read", ctx.Err(), "")
			}
			time.Sleep(4 * time.Millisecond)
			return Outcome{Status: Pass}
		})
		r.Set(ctx, []Check{c})
		time.Sleep(time.Second)
		want := []Step{{"connect", 4 * time.Millisecond}, {"login", 2 * time.Millisecond}, {"transaction", 4 * time.Millisecond}}
		if got := result(t, r, "page"); got.Duration != 10*time.Millisecond || cmp.Diff(want, got.Steps) != "" {
			t.Errorf("took %s:\n%s", got.Duration, cmp.Diff(want, got.Steps))
		}
		hang.Store(true)
		time.Sleep(35 * time.Second)
		if got := result(t, r, "page"); got.Evidence != "read: no answer in time (transaction)" {
			t.Errorf("evidence %q", got.Evidence)
		}
		cancel()
		synctest.Wait()
	})
	begin(t.Context(), stepTLS) // without a stopwatch nothing happens
}
