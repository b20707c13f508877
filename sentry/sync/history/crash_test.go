package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestCutAtEveryByte cuts the journal at each byte of its records: what was acknowledged before that byte is there, and recording goes on.
func TestCutAtEveryByte(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "h")
	r := mustOpen(t, dir, Options{journal: 1 << 14, settleAt: -1})
	mustRecord(t, r, state.Site, Meta{}, folder("etc"), file("etc/hosts", "first\n"))
	if err := r.Settle(); err != nil {
		t.Fatal(err)
	}
	ends := []int64{r.journal.end}
	heads := []string{head(t, r)}
	for i := range 4 {
		mustRecord(t, r, state.Site, Meta{}, file("etc/hosts", fmt.Sprintf("state %d\n", i)))
		ends, heads = append(ends, r.journal.end), append(heads, head(t, r))
	}
	_ = r.Close()
	whole, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fill := range []byte{0, 0xff, 'x'} { // what stands where nothing was written: zeros, or whatever was there
		for cut := int64(journalHeader); cut <= ends[len(ends)-1]; cut++ {
			if fill != 0 && cut%7 != 0 {
				continue
			}
			b := bytes.Clone(whole[:cut])
			if cut%2 == 0 || fill != 0 { // else the file ends there
				b = append(b, bytes.Repeat([]byte{fill}, 2000)...)
			}
			want := 0
			for want+1 < len(ends) && ends[want+1] <= cut {
				want++
			}
			reopenCut(t, dir, b, heads, want, fmt.Sprintf("cut at %d, %x follows", cut, fill))
		}
	}
}

func reopenCut(t *testing.T, dir string, journal []byte, heads []string, want int, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "journal"), journal, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir, Options{Server: "web1", Now: newClock().now, settleAt: -1})
	if err != nil {
		t.Fatalf("%s: Open: %v", name, err)
	}
	if got := head(t, r); got != heads[want] {
		t.Fatalf("%s: the newest commit is %s; want number %d, %s", name, got, want, heads[want])
	}
	if len(journal)%50 == 0 {
		if err := r.Verify(context.Background()); err != nil {
			t.Fatalf("%s: Verify: %v", name, err)
		}
		next := mustRecord(t, r, state.Site, Meta{}, file("etc/hosts", "after "+name))
		_ = r.Close()
		if r, err = Open(dir, Options{settleAt: -1}); err != nil {
			t.Fatalf("%s: Open after one more commit: %v", name, err)
		}
		if got := head(t, r); got != next.ID {
			t.Fatalf("%s: the commit made afterwards is gone", name)
		}
	}
	_ = r.Close()
}

func head(t testing.TB, r *Repo) string {
	t.Helper()
	c, ok := r.Head(state.Site)
	if !ok {
		return ""
	}
	return c.ID
}

// TestFlippedBytes changes bits of a journal: in all but the last record that is damage, and told; nowhere does it yield another state.
func TestFlippedBytes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "h")
	r := mustOpen(t, dir, Options{journal: 1 << 14, settleAt: -1})
	heads := map[string]bool{}
	var last int64
	for i := range 3 {
		last = r.journal.end
		mustRecord(t, r, state.Site, Meta{}, folder("etc"), file("etc/hosts", fmt.Sprintf("state %d\n", i)))
		heads[head(t, r)] = true
	}
	end := r.journal.end
	_ = r.Close()
	whole, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	for at := range end {
		b := bytes.Clone(whole)
		b[at] ^= 1 << (at % 8)
		if err := os.WriteFile(filepath.Join(dir, "journal"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(dir, Options{settleAt: -1})
		var damaged *DamagedError
		switch {
		case errors.As(err, &damaged):
			if at >= last {
				t.Errorf("byte %d, in the last record: %v; want it passed over", at, err)
			}
			if !strings.Contains(err.Error(), "set the folder aside") {
				t.Errorf("byte %d: %q does not say what to do", at, err)
			}
		case err != nil:
			t.Errorf("byte %d: %v; want a *DamagedError", at, err)
		default:
			if at < last {
				t.Errorf("byte %d, in the middle: opened without a word", at)
			}
			if !heads[head(t, r)] {
				t.Errorf("byte %d: a commit that was never made", at)
			}
			_ = r.Close()
		}
	}
}

// TestPowerCutWhileSettling stops before each step of settling and of packing, and opens what a disk would have then.
func TestPowerCutWhileSettling(t *testing.T) {
	for _, at := range []string{"pack", "refs", "journal", "swap", "remove"} {
		t.Run(at, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "h")
			armed := false
			r := mustOpen(t, dir, Options{settleAt: -1, step: func(name string) error {
				if armed && name == at {
					return errors.New("power cut")
				}
				return nil
			}})
			m := newModel(9)
			record := func(n int) {
				for range n {
					c, changed, err := r.Record(state.Site, m.step(), Meta{})
					if err != nil {
						t.Fatal(err)
					}
					m.note(c, changed, false)
				}
			}
			record(20)
			if err := r.Settle(); err != nil {
				t.Fatal(err)
			}
			record(20)
			armed = true
			if err := r.Pack(context.Background()); err == nil {
				t.Fatal("Pack went on after the cut")
			}
			cut := filepath.Join(t.TempDir(), "cut")
			copyTree(t, dir, cut)
			m.check(t, mustOpen(t, cut, Options{}), state.Site)
			// And the one that met an error, a full disk say, goes on.
			armed = false
			record(5)
			if err := r.Settle(); err != nil {
				t.Fatal(err)
			}
			m.check(t, r, state.Site)
			git(t, r, "fsck", "--full", "--strict")
		})
	}
}

func TestSettledPackFlipped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "h")
	r := mustOpen(t, dir, Options{})
	for i := range 5 {
		mustRecord(t, r, state.Site, Meta{}, folder("etc"), file("etc/hosts", strings.Repeat(fmt.Sprintf("state %d\n", i), 50)))
	}
	if err := r.Pack(context.Background()); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	for _, kind := range []string{".pack", ".idx"} {
		names, _ := filepath.Glob(filepath.Join(dir, "repo.git/objects/pack/*"+kind))
		if len(names) != 1 {
			t.Fatalf("%d files *%s; want 1", len(names), kind)
		}
		whole, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(names[0], 0o600); err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(whole); at += 7 {
			b := bytes.Clone(whole)
			b[at] ^= 0x40
			if err := os.WriteFile(names[0], b, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Open(dir, Options{})
			if err == nil {
				err = r.Verify(context.Background())
				_ = r.Close()
			}
			if _, ok := errors.AsType[*DamagedError](err); !ok {
				t.Fatalf("%s with byte %d flipped: %v; want a *DamagedError", kind, at, err)
			}
		}
		if err := os.WriteFile(names[0], whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMissingFilesAreDamage(t *testing.T) {
	for _, name := range []string{"journal", "repo.git/objects/pack", "repo.git"} {
		dir := filepath.Join(t.TempDir(), "h")
		r := mustOpen(t, dir, Options{})
		mustRecord(t, r, state.Site, Meta{}, folder("etc"))
		if err := r.Settle(); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, Options{})
		if _, ok := errors.AsType[*DamagedError](err); !ok {
			t.Errorf("without %s: %v; want a *DamagedError", name, err)
		}
		aside, err := SetAside(dir, time.Unix(0, 0))
		if err != nil || !strings.HasSuffix(aside, ".damaged-1970-01-01T00-00-00") {
			t.Errorf("SetAside = %q, %v", aside, err)
		}
		mustRecord(t, mustOpen(t, dir, Options{}), state.Site, Meta{}, folder("etc"))
	}
}

func TestInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "h")
	r := mustOpen(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open = %v; want ErrInUse", err)
	}
	_ = r.Close()
	if _, _, err := r.Record(state.Site, []Edit{folder("etc")}, Meta{}); err == nil {
		t.Error("Record after Close worked")
	}
	mustOpen(t, dir, Options{})
}

// TestPackWhileRecording has readers and a writer go on while packs are replaced; what is recorded again while its only copy is about to go
// has to stay.
func TestPackWhileRecording(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "h")
	r := mustOpen(t, dir, Options{journal: 1 << 14})
	mustRecord(t, r, state.Site, Meta{}, folder("etc"), file("etc/a", "kept by no branch\n"))
	mustRecord(t, r, state.Site, Meta{Amend: true}, file("etc/a", "a\n"))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := r.Pack(context.Background()); err != nil {
					t.Error(err)
				}
			}
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				c, _ := r.Head(state.Site)
				if err := r.Walk(c.ID, "", func(p state.Path, e state.Entry) error { return nil }); err != nil {
					t.Error(err)
				}
			}
		}
	})
	m := newModel(3)
	m.now = map[state.Path]state.Entry{}
	mustRecord(t, r, state.Site, Meta{Amend: true}, gone("etc"), folder("tmp"))
	m.now["tmp"] = *folder("tmp").Entry
	m.ids, m.states = []string{head(t, r)}, append(m.states, m.now)
	for i := range 150 {
		amend := i%3 == 2
		edits := m.step()
		c, changed, err := r.Record(state.Site, edits, Meta{Amend: amend})
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		m.note(c, changed, amend)
	}
	close(stop)
	wg.Wait()
	_ = r.Close()
	m.check(t, mustOpen(t, dir, Options{}), state.Site)
}

func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	r := mustOpen(f, dir, Options{journal: 256, settleAt: -1})
	mustRecord(f, r, state.Site, Meta{}, folder("etc"))
	mustRecord(f, r, state.Site, Meta{}, file("etc/a", "b"))
	gen := binary.LittleEndian.AppendUint64(nil, r.journal.gen)
	_ = r.Close()
	b, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(append(bytes.Clone(b[:journalHeader]), append([]byte(recordMagic), gen...)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, records, end, err := parseJournal(b)
		if err == nil && (end < journalHeader || end > int64(len(b))) {
			t.Errorf("the records end at %d of %d bytes", end, len(b))
		}
		for _, rec := range append(records, b) {
			_ = decodeRecord(rec, func(state.Branch, plumbing.Hash) {}, func(_ plumbing.Hash, o object) { _, _ = o.read(&inflaters{}) })
		}
	})
}
