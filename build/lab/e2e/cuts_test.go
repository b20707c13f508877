package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestCut cuts the power of both servers at random moments of serving, of label writes and of booting, on disks that lose what was
// not flushed; up to four boots in a row are cut before one may go on. Both servers must come up then, with everything that a
// client was told is safe. ATLAS_CUTS sets how many cuts at least, ATLAS_SEED which.
func TestCut(t *testing.T) {
	s := use(t, "vm")
	n, _ := strconv.Atoi(cmpOr(os.Getenv("ATLAS_CUTS"), "4"))
	seed, _ := strconv.ParseUint(cmpOr(os.Getenv("ATLAS_SEED"), "1"), 10, 64)
	rng := rand.New(rand.NewPCG(seed, seed))
	s.healthy(t, "left", "right")
	var acked []string
	for cuts := 0; cuts < n; {
		acked = append(acked, s.cutServing(t, rng)...)
		cuts += 2
		for i := 0; i < 4 && cuts < n; i++ {
			s.cutBooting(t, rng)
			cuts += 2
		}
		s.on(t, "left", "right")
		s.wait(t, "left", "primary")
		s.wait(t, "right", "secondary")
		s.wait(t, "left", "ready")
		s.wait(t, "right", "ready")
		s.hasAll(t, acked)
		t.Logf("both servers are up after %d cuts", cuts)
	}
	eventually(t, "both sets are whole again", 10*time.Minute, func() error {
		for name, address := range map[string]string{"left": "10.7.0.11", "right": "10.7.0.12"} {
			if set, _, err := s.set(t, name, address); err != nil || set.Degraded {
				return errors.Join(err, fmt.Errorf("%w: %s %+v", errNotYet, name, set))
			}
		}
		return nil
	})
	s.healthy(t, "left", "right")
}

// cutServing cuts left while a client writes, just after a disk of its set has failed, so that its label is being written; then right.
func (s *site) cutServing(t *testing.T, rng *rand.Rand) []string {
	t.Helper()
	w := s.startWriter("cut-" + strconv.FormatInt(time.Now().UnixNano(), 36))
	eventually(t, "notes are written", 2*time.Minute, func() error { return more(w, 2) })
	s.must(t, time.Minute, "disk", "error", "left", "2")
	after := time.Duration(rng.IntN(3000)) * time.Millisecond
	time.Sleep(after)
	s.must(t, time.Minute, "power", "cut", "left")
	acked, _ := w.end()
	t.Logf("left: cut %v after the disk of bay 2 began to fail; %d notes were acknowledged before", after, len(acked))
	after = time.Duration(rng.IntN(5000)) * time.Millisecond
	time.Sleep(after)
	s.must(t, time.Minute, "power", "cut", "right")
	return acked
}

// cutBooting switches both servers, which are off, on and cuts each at a random moment of its boot.
func (s *site) cutBooting(t *testing.T, rng *rand.Rand) {
	t.Helper()
	s.on(t, "left", "right")
	at := map[string]time.Duration{}
	for _, name := range []string{"left", "right"} {
		at[name] = time.Duration(5000+rng.IntN(70000)) * time.Millisecond
	}
	order := []string{"left", "right"}
	if at["right"] < at["left"] {
		order = []string{"right", "left"}
	}
	began := time.Now()
	for _, name := range order {
		time.Sleep(time.Until(began.Add(at[name])))
		s.must(t, time.Minute, "power", "cut", name)
		t.Logf("%s: cut %v after power-on", name, at[name])
	}
}

// TestCutInstall cuts the power at random moments of an installation. Each time the installation is run again from the stick, with
// the leave to erase what the first one left; at the end the server boots as the primary of its site.
func TestCutInstall(t *testing.T) {
	shared := use(t, "vm")
	n, _ := strconv.Atoi(cmpOr(os.Getenv("ATLAS_CUTS"), "1"))
	seed, _ := strconv.ParseUint(cmpOr(os.Getenv("ATLAS_SEED"), "1"), 10, 64)
	rng := rand.New(rand.NewPCG(seed, seed+1))
	s := shared.another(t)
	for i := range n {
		s.must(t, time.Minute, "stick", "left", "--erase")
		log := s.consoleLog(t, "left")
		s.must(t, time.Minute, "power", "on", "--stick", "left")
		eventually(t, "the installation begins", 4*time.Minute, func() error { return log.has("unattended installation") })
		after := time.Duration(rng.IntN(45000)) * time.Millisecond
		time.Sleep(after)
		s.must(t, time.Minute, "power", "cut", "left")
		t.Logf("cut %d: %v into the installation, which had said:\n%s", i+1, after, tail(log.read(), 3))
	}
	s.must(t, time.Minute, "stick", "left", "--erase")
	log := s.consoleLog(t, "left")
	s.must(t, time.Minute, "power", "on", "--stick", "left")
	s.must(t, 16*time.Minute, "wait", "left", "off", "--timeout", "15m")
	if err := log.has("Installed. This was done:"); err != nil {
		t.Fatalf("%v; the console ends with:\n%s", err, tail(log.read(), 30))
	}
	s.must(t, time.Minute, "power", "on", "left")
	s.wait(t, "left", "primary")
	s.wait(t, "left", "ready")
}
