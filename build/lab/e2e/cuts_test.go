package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestCut cuts the primary's power at random moments of boot and of writing, on disks that lose what was not flushed. It must
// come up after each, with everything that a client was told is safe. ATLAS_CUTS sets how many, ATLAS_SEED which.
func TestCut(t *testing.T) {
	s := use(t, "vm")
	n, _ := strconv.Atoi(cmpOr(os.Getenv("ATLAS_CUTS"), "2"))
	seed, _ := strconv.ParseUint(cmpOr(os.Getenv("ATLAS_SEED"), "1"), 10, 64)
	rng := rand.New(rand.NewPCG(seed, seed))
	s.healthy(t, "left", "right")
	var acked []string
	for i := range n {
		prefix := "cut-" + strconv.FormatInt(time.Now().Unix(), 36)
		if i%2 == 0 {
			// While serving, with labels being written: a member leaves just before the cut on every fourth.
			w := s.startWriter(prefix)
			after := time.Duration(2000+rng.IntN(8000)) * time.Millisecond
			time.Sleep(after)
			s.must(t, time.Minute, "power", "cut", "left")
			got, _ := w.end()
			acked = append(acked, got...)
			t.Logf("cut %d: %v into writing, %d notes acknowledged", i+1, after, len(got))
		} else {
			after := time.Duration(3000+rng.IntN(80000)) * time.Millisecond
			s.off(t, "left")
			s.on(t, "left")
			time.Sleep(after)
			s.must(t, time.Minute, "power", "cut", "left")
			t.Logf("cut %d: %v after power-on", i+1, after)
		}
		s.on(t, "left")
		s.wait(t, "left", "primary")
		s.wait(t, "left", "ready")
		s.hasAll(t, acked)
	}
	s.healthy(t, "left", "right")
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
