package carry

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// fakeBulk is a history of one huge commit whose pack is never in memory.
type fakeBulk struct {
	size int64
	mu   sync.Mutex
	head state.Commit
	sum  string // of what was imported
}

var bulkCommit = state.Commit{ID: strings.Repeat("c", 40), Seq: 1}

func (f *fakeBulk) Commit(id string) (state.Commit, error) {
	if id != bulkCommit.ID {
		return state.Commit{}, history.ErrNotFound
	}
	return bulkCommit, nil
}

func (f *fakeBulk) Head(state.Branch) (state.Commit, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head, f.head.ID != ""
}

func (f *fakeBulk) Export(w io.Writer, _ []string, _ string) error {
	h := sha256.New()
	_, err := io.CopyN(io.MultiWriter(w, h), rand.NewChaCha8([32]byte{1}), f.size)
	f.note(h)
	return err
}

func (f *fakeBulk) Import(r io.Reader, _ int64, _ state.Branch, _ string, _ state.Branch) (state.Commit, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil || n != f.size {
		return state.Commit{}, errors.Join(err, fmt.Errorf("%d bytes; want %d", n, f.size))
	}
	f.note(h)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head = bulkCommit
	return f.head, nil
}

func (f *fakeBulk) note(h hash.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum = hex.EncodeToString(h.Sum(nil))
}

// A large history over a link that breaks again and again, with the usual limits. CARRY_MB sets how large.
func TestLargeOverABreakingLink(t *testing.T) {
	size := int64(48 << 20)
	if mb, err := strconv.ParseInt(os.Getenv("CARRY_MB"), 10, 64); err == nil {
		size = mb << 20
	}
	if testing.Short() {
		size = 8 << 20
	}
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	from, to := &fakeBulk{size: size}, &fakeBulk{size: size}
	left.store, right.store = from, to
	lim := Limits{Backoff: 100 * time.Millisecond}
	right.receive(lim, nil)
	p := newProxy(t, right.ip, rig.port, func(int) int64 { return -1 })
	send := left.sender(lim, nil, map[string]string{"right": p.ip})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var peak uint64
	cuts := 0
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(70 * time.Millisecond):
				p.cut()
				cuts++
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}
	})
	began := time.Now()
	send.Update(bulkCommit)
	send.Allow(bulkCommit)
	told := int64(0)
	waitFor(t, 10*time.Minute, func() bool {
		if st := send.Status()["right"]; st.Size == size {
			told = max(told, st.Sent)
		}
		_, done := to.Head(state.Site)
		return done
	}, func() string { return fmt.Sprintf("status = %+v", send.Status()["right"]) })
	close(stop)
	wg.Wait()
	t.Logf("%d MB, %d cuts, %s, %d MB crossed, heap at most %d MB", size>>20, cuts, time.Since(began).Round(time.Millisecond), p.pass.Load()>>20, peak>>20)
	if from.sum != to.sum {
		t.Error("what arrived is not what was sent")
	}
	if told < size/2 {
		t.Errorf("the progress that was told reached %d of %d", told, size)
	}
	if sent := p.pass.Load(); sent > size*3/2+int64(cuts)*1<<20 {
		t.Errorf("%d bytes crossed", sent)
	}
	if peak > 64<<20 {
		t.Errorf("the heap grew to %d MB", peak>>20)
	}
}

// To ask a server that is off for its attestation takes seconds. Changes do not wait for that, however rarely they come.
func TestSlowAttestation(t *testing.T) {
	rig := newRig(t, 3)
	left, right := rig.all[0], rig.all[1]
	lim := fast
	lim.Fresh, lim.Stall, lim.Answer = 2500*time.Millisecond, 10*time.Second, 10*time.Second
	right.others = func() []roles.Attestation {
		time.Sleep(2 * time.Second)
		return []roles.Attestation{left.attestation()}
	}
	right.receive(lim, nil)
	left.sender(lim, nil, nil)
	right.waitHead(left.change([]byte("first")))
	for i := range 2 {
		time.Sleep(lim.Fresh)
		from := time.Now()
		right.waitHead(left.change(fmt.Appendf(nil, "%d", i)))
		if d := time.Since(from); d > 1800*time.Millisecond { // without asking; a busy machine takes its time
			t.Errorf("change %d took %s", i, d)
		}
	}
}

// A second primary comes up while all goes well: from then on changes are taken from neither.
func TestSecondPrimary(t *testing.T) {
	rig := newRig(t, 3)
	left, right, third := rig.all[0], rig.all[1], rig.all[2]
	lim := fast
	lim.Fresh = 200 * time.Millisecond
	recv := right.receive(lim, nil)
	send := left.sender(lim, nil, nil)
	right.waitHead(left.change([]byte("first")))
	third.setAttestation(attest("third", "another", lineage1))
	time.Sleep(2 * lim.Fresh)
	left.change([]byte("second"))
	waitFor(t, 5*time.Second, func() bool { return send.Status()["right"].Code == CodePrimaries && len(recv.Findings()) == 1 }, func() string {
		return fmt.Sprintf("status = %+v, findings %+v", send.Status()["right"], recv.Findings())
	})
	if h, _ := right.hist.Head(state.Site); h.Seq != 1 {
		t.Errorf("change %d was taken", h.Seq)
	}
	third.setAttestation(roles.Attestation{Server: "third"})
	right.waitHead(left.change([]byte("third")))
	waitFor(t, 5*time.Second, func() bool { return len(recv.Findings()) == 0 }, func() string { return fmt.Sprint(recv.Findings()) })
}
