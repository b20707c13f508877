package site

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
	"sayasystems.com/atlas/sentry/sync/state"
	"sayasystems.com/atlas/sentry/verify"
)

// wire is the way between the two servers of a simulated office: in bursts it loses packets.
type wire struct {
	mu    sync.Mutex
	rng   *rand.Rand
	loss  float64
	lost  int
	tries int
}

func (w *wire) set(loss float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loss = loss
}

func (w *wire) loses() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries++
	if w.rng.Float64() < w.loss {
		w.lost++
		return true
	}
	return false
}

func (w *wire) between(a, b time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return a + time.Duration(w.rng.Int64N(int64(b-a)))
}

// transaction is a probe over the wire. Over TCP a lost packet is sent again, by the kernel's times; over UDP the probe asks three times.
func (w *wire) transaction(packets int, tcp bool) func(context.Context) verify.Outcome {
	return func(ctx context.Context) verify.Outcome {
		took := w.between(2*time.Millisecond, 400*time.Millisecond) // of a server that has its clients to serve
		answered := tcp
		for range 3 {
			if tcp {
				break
			}
			there, back := w.loses(), w.loses()
			if answered = !there && !back; answered {
				break
			}
			took += 1500 * time.Millisecond
		}
		for i := range packets {
			if !tcp {
				break
			}
			again := 200 * time.Millisecond
			if i < 2 { // of the handshake
				again = time.Second
			}
			for w.loses() {
				took, again = took+again, 2*again
			}
		}
		select {
		case <-ctx.Done():
			return verify.Outcome{Status: verify.Fail, Evidence: "no answer in time", Weight: 2}
		case <-time.After(took):
		}
		switch {
		case !answered:
			return verify.Outcome{Status: verify.Fail, Evidence: "no answer in time", Weight: 2}
		case w.loses(): // what else goes wrong once at such moments
			return verify.Outcome{Status: verify.Fail, Evidence: "connection reset by peer"}
		}
		return verify.Outcome{Status: verify.Pass, Evidence: "answers"}
	}
}

// watch is the look at a port every few seconds.
func (w *wire) watch(ctx context.Context) error {
	wait := time.Millisecond
	for again := time.Second; ; again *= 2 {
		there, back := w.loses(), w.loses()
		if !there && !back {
			break
		}
		wait += again
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// soakServices are as many as a site with all packs has, with what a transaction of each sends.
var soakServices = []struct {
	name    string
	probes  int
	packets int
	tcp     bool
	every   time.Duration
}{
	{"apache", 7, 12, true, 0},
	{"mariadb", 1, 40, true, 0},
	{"postgresql", 2, 40, true, 0},
	{"samba", 1, 60, true, 0},
	{"nfs", 1, 60, true, 0},
	{"openldap", 3, 40, true, 0},
	{"notes", 1, 12, true, 0},
	{"postfix", 4, 30, true, time.Minute},
	{"dovecot", 2, 30, true, time.Minute},
	{"kerberos", 2, 12, true, time.Minute},
	{"chrony", 1, 2, false, 0},
	{"addc-dns", 1, 2, false, time.Minute},
	{"addc", 7, 30, true, 2 * time.Minute},
	{"ssh", 1, 24, true, 2 * time.Minute},
}

// TestSoak is a day of a site with all services, at the usual schedule: packets get lost in bursts of 1 %, servers are slow for moments, reports come
// late. Nobody is alarmed, and the verdict is yes all the time.
func TestSoak(t *testing.T) {
	length := 24 * time.Hour
	if testing.Short() {
		length = time.Hour
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &wire{rng: rand.New(rand.NewPCG(1, 2))}
		runners := map[string]*verify.Runner{}
		for _, obs := range []string{"left", "right"} {
			r := verify.NewRunner(verify.Settings{Observer: obs})
			var checks []verify.Check
			for _, target := range []string{"left", "right"} {
				for _, v := range soakServices {
					for i := range v.probes {
						way := w
						if target == obs { // a server reaches itself without the wire
							way = &wire{rng: rand.New(rand.NewPCG(3, uint64(len(checks))))}
						}
						c := verify.Check{Target: target, Service: v.name, Probe: fmt.Sprintf("p%d", i), Title: v.name, Every: v.every, Run: way.transaction(v.packets, v.tcp)}
						if i == 0 && v.tcp {
							c.Watch = way.watch
						}
						checks = append(checks, c)
					}
				}
			}
			r.Set(ctx, checks)
			runners[obs] = r
		}
		go func() { // bursts
			for loss := 0.01; ; loss = 0.01 - loss {
				w.set(loss)
				select {
				case <-ctx.Done():
					return
				case <-time.After(w.between(10*time.Second, 10*time.Minute)):
				}
			}
		}()
		time.Sleep(3 * time.Minute)
		began := time.Now()
		seen := map[string]time.Time{"left": began, "right": began}
		held := map[string]*Report{}
		judged, soft := 0, 0
		for time.Since(began) < length {
			time.Sleep(5 * time.Second)
			for name := range seen {
				if held[name] != nil && name == "right" && w.loses() { // this report comes late
					continue
				}
				held[name], seen[name] = soakReport(name, runners[name].Results(), began), time.Now()
			}
			s := Site{At: time.Now(), Server: "left"}
			for _, name := range []string{"left", "right"} {
				s.Servers = append(s.Servers, Server{Name: name, Self: name == "left", Seen: seen[name], Report: held[name]})
				if slices.ContainsFunc(held[name].Probes, verify.Result.Soft) {
					soft++
				}
			}
			s = Judge(s)
			judged++
			if s.Readiness.Verdict != initapi.VerdictYes {
				t.Errorf("after %v: %s: %+v", time.Since(began), s.Readiness.Verdict, s.Readiness.Reasons)
			}
			for _, f := range s.Findings {
				t.Errorf("after %v: %s: %s", time.Since(began), f.ID, f.What)
			}
			if t.Failed() {
				break
			}
		}
		cancel()
		synctest.Wait()
		t.Logf("%v: %d packets, %d of them lost; judged %d times, a probe just being looked at again in %d of them", length, w.tries, w.lost, judged, soft)
		if w.lost < 10 || soft == 0 {
			t.Error("hardly a packet was lost: this proves nothing")
		}
	})
}

// soakReport is what a server tells: all is well but what its probes say.
func soakReport(name string, probes []verify.Result, began time.Time) *Report {
	r := &Report{Name: name, At: time.Now(), Peers: []string{"left", "right"}, Probes: probes, State: &initapi.State{
		Server: name, State: initapi.Serving, Role: roles.Primary, Ready: true, Version: "1", Started: began.Add(-time.Hour), Set: &initapi.Set{ID: name},
	}}
	proofs := map[string]ledger.Proof{}
	for _, v := range soakServices {
		r.State.Services = append(r.State.Services, initapi.Service{Name: v.name, Title: strings.ToUpper(v.name), State: "ready"})
		proofs[v.name] = ledger.Proof{Service: v.name, At: began, Live: "l1"}
	}
	r.Sync = &state.Status{At: time.Now(), Role: "primary", Peers: []state.Peer{{Name: "right", Up: true, Live: "c1", State: "in step"}}}
	if name == "right" {
		r.State.Role = roles.Secondary
		r.Sync = &state.Status{At: time.Now(), Role: "secondary"}
		r.Starts = &rehearsal.Status{At: time.Now(), Proofs: proofs, LastFull: time.Now().Add(-time.Hour), Nightly: true}
	}
	return r
}
