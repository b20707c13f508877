package engine

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// kept is a state that the primary told it had recorded.
type kept struct {
	commit string
	seq    uint64
	files  seen
}

type trial struct {
	t           *testing.T
	r           *rand.Rand
	left, right *server
	wire        *wire
	kept        []kept
	received    carry.Point // the newest that right said it had
	edits, cuts int
	stops, dark int
}

// TestRandomEdits makes random edits on the primary, while the link breaks, servers are stopped in the middle of their work, and lose their
// power with all that was not flushed. In the end both have the same files, and the history has every state that was told to be recorded.
// SYNC_EDITS and SYNC_SEED choose how many and which: make sync-random.
func TestRandomEdits(t *testing.T) {
	seed, edits, big := uint64(1), 300, int64(5<<20)
	if n, err := strconv.ParseUint(os.Getenv("SYNC_SEED"), 10, 64); err == nil {
		seed = n
	}
	if n, err := strconv.Atoi(os.Getenv("SYNC_EDITS")); err == nil {
		edits = n
	}
	if edits > 1000 {
		big = 50 << 20
	}
	w, via := newWire(t)
	left, right := siteOf(t, plan{disk: true, via: via, prepare: func(s *server) {
		write(t, s.path("etc/passwd"), s.read("etc/passwd")+"anna:x:1000:1000::/:/bin/sh\n")
		write(t, s.path("etc/group"), s.read("etc/group")+"anna:x:1000:\n")
	}, sender: func(c *carry.SenderConfig) { c.Limits.Backoff = 200 * time.Millisecond }})
	tr := &trial{t: t, r: rand.New(rand.NewPCG(seed, 2)), left: left, right: right, wire: w}
	for n := 0; tr.edits < edits && !t.Failed(); n++ {
		tr.burst(min(10+tr.r.IntN(60), edits-tr.edits), big)
		if tr.r.IntN(3) == 0 {
			tr.settle()
		}
	}
	w.off.Store(false)
	w.rest.Store(-1)
	tr.settle()
	tr.converge()
	tr.history()
	t.Logf("seed %d: %d edits, %d cuts of the link, %d stops, %d power cuts, %d states told, %d commits", seed, tr.edits, tr.cuts, tr.stops, tr.dark,
		len(tr.kept), left.engine.Status().Commits)
}

// burst has another process edit, while something happens.
func (tr *trial) burst(n int, big int64) {
	t := tr.t
	cmd := exec.Command(os.Args[0], "edit-helper", tr.left.root, strconv.FormatUint(tr.r.Uint64(), 10), strconv.Itoa(n), strconv.FormatInt(big, 10))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	must(t, cmd.Start())
	wait := time.Duration(tr.r.IntN(400)) * time.Millisecond
	what := tr.r.IntN(12)
	time.Sleep(wait)
	tr.wire.off.Store(false)
	switch what {
	case 0, 1:
		tr.cuts++
		tr.wire.cut()
	case 2:
		tr.cuts++
		tr.wire.rest.Store(int64(tr.r.IntN(40_000)))
	case 3: // away until the next burst
		tr.cuts++
		tr.wire.off.Store(true)
		tr.wire.cut()
	case 4:
		tr.again(tr.left, false)
	case 5:
		tr.again(tr.right, false)
	case 6, 7:
		must(t, tr.during(cmd, func() { tr.again(tr.left, true) }))
		tr.edits += n
		return
	case 8, 9:
		tr.again(tr.right, true)
	}
	must(t, cmd.Wait())
	tr.edits += n
}

// during cuts the primary's power while the other process still edits; that cannot end before it has got its errors.
func (tr *trial) during(cmd *exec.Cmd, cut func()) error {
	tr.left.disk.cut()
	err := cmd.Wait()
	cut()
	return err
}

// again stops a server and starts it.
func (tr *trial) again(s *server, power bool) {
	at := s.engine.Status()
	if s == tr.left {
		for _, p := range s.engine.cfg.Sender.Status() {
			tr.heard(p.Received)
		}
	}
	if !power {
		tr.stops++
		s.stop()
		s.start()
		tr.has(s, at.Head)
		return
	}
	tr.dark++
	s.dark.Store(true)
	s.disk.cut()
	s.stop()
	s.disk.back()
	s.start()
	if s == tr.left {
		tr.has(s, at.Head)
	} else if p := tr.received; p.ID != "" {
		tr.has(s, &state.Commit{ID: p.ID, Seq: p.Seq})
	}
}

// has sees that a server still has in its history what was told before.
func (tr *trial) has(s *server, c *state.Commit) {
	if c == nil {
		return
	}
	if _, err := s.engine.repo.Commit(c.ID); err != nil {
		tr.t.Errorf("%s had change %d, and has lost it: %v", s.name, c.Seq, err)
	}
	if head, ok := s.engine.repo.Head(state.Site); !ok || head.Seq < c.Seq {
		tr.t.Errorf("%s had change %d; its newest is %d now", s.name, c.Seq, head.Seq)
	}
}

func (tr *trial) heard(p carry.Point) {
	if p.Seq >= tr.received.Seq {
		tr.received = p
	}
}

// settle waits until all is recorded, and remembers that state.
func (tr *trial) settle() {
	t := tr.t
	var files, have seen
	var head state.Commit
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		files = walk(t, tr.left.root).aclNames()
		var ok bool
		if head, ok = tr.left.engine.repo.Head(state.Site); ok {
			have = recorded(t, tr.left.engine, head.ID)
			if maps.Equal(files, have) {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatalf("not recorded within a minute:\n%s\nfindings: %v", strings.Join(differ(files, have), "\n"), tr.left.findings.List())
		}
	}
	tr.kept = append(tr.kept, kept{head.ID, head.Seq, files})
	pause() // what comes is another action
	for _, p := range tr.left.engine.cfg.Sender.Status() {
		tr.heard(p.Received)
	}
}

// converge waits until the secondary is in step and has the same files.
func (tr *trial) converge() {
	t := tr.t
	var a, b seen
	for end := time.Now().Add(120 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		a, b = walk(t, tr.left.root), walk(t, tr.right.root)
		if maps.Equal(a, b) && tr.right.engine.Status().InStep {
			return
		}
		if time.Now().After(end) {
			head, _ := tr.left.engine.repo.Head(state.Site)
			t.Fatalf("not equal within two minutes; newest %s, told to be sent %q; peers %+v; %d files; in step: %v\n%s\nfindings: %v %v", head.ID,
				tr.left.engine.remembered(allowedFile), tr.left.engine.cfg.Sender.Status(), len(a), tr.right.engine.Status().InStep,
				strings.Join(differ(a, b), "\n"), tr.left.findings.List(), tr.right.findings.List())
		}
	}
}

// history sees that every state that was told is there, and that both repositories are whole.
func (tr *trial) history() {
	t := tr.t
	log, err := tr.left.engine.repo.Log(state.Site, history.LogOptions{})
	must(t, err)
	there := map[string]bool{}
	for _, c := range log {
		there[c.ID] = true
	}
	for _, k := range tr.kept {
		if !there[k.commit] {
			t.Errorf("change %d (%s) was recorded and is not in the history", k.seq, k.commit)
			continue
		}
		if have := recorded(t, tr.left.engine, k.commit); !maps.Equal(k.files, have) {
			t.Errorf("the state of change %d is not what was there:\n%s", k.seq, strings.Join(differ(k.files, have), "\n"))
		}
	}
	for _, s := range []*server{tr.left, tr.right} {
		if err := s.engine.repo.Verify(context.Background()); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if err := s.engine.repo.Settle(); err != nil {
			t.Errorf("%s: settle: %v", s.name, err)
		}
		if git, err := exec.LookPath("git"); err == nil {
			cmd := exec.Command(git, "--git-dir", filepath.Join(s.root, "sync/history/repo.git"), "fsck", "--full", "--strict", "--no-dangling")
			cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
			if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "" { // amended commits dangle
				t.Errorf("%s: git fsck: %v\n%.2000s", s.name, err, out)
			}
		}
	}
}
