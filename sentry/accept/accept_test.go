package accept

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var now = time.Now().UTC().Round(time.Second)

func of(finding, why string, at time.Time) Acceptance {
	return Acceptance{Finding: finding, Severity: "critical", Who: "anna", Why: why, Server: "left", At: at, Until: at.Add(24 * time.Hour)}
}

func open(t *testing.T) *Book {
	t.Helper()
	b, err := Open(filepath.Join(t.TempDir(), "accepted"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Acceptance)
		want   string
	}{
		{"good", func(*Acceptance) {}, ""},
		{"no finding", func(a *Acceptance) { a.Finding = " " }, "which finding"},
		{"no reason", func(a *Acceptance) { a.Why = "" }, "why?"},
		{"past", func(a *Acceptance) { a.Until = now }, "in the future"},
		{"for good", func(a *Acceptance) { a.Until = now.Add(Longest + time.Hour) }, "90 days at most"},
		{"a novel", func(a *Acceptance) { a.Why = strings.Repeat("x", 501) }, "too long"},
	} {
		a := of("hot", "the disk is ordered", now)
		c.change(&a)
		err := a.Check(now)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: Check = %v; want %q", c.name, err, c.want)
		}
	}
}

// TestTwoServers: whatever is done on one server is so on the other, in any order of reports, and the newest counts.
func TestTwoServers(t *testing.T) {
	left, right := open(t), open(t)
	swap := func() {
		t.Helper()
		for range 2 {
			for _, b := range [][2]*Book{{left, right}, {right, left}} {
				if _, err := b[1].Merge(b[0].List(), now); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(left.Accept(of("a", "first", now.Add(-3*time.Minute))))
	must(right.Accept(of("b", "other", now.Add(-3*time.Minute))))
	swap()
	must(right.Accept(of("a", "second", now.Add(-2*time.Minute))))
	if _, err := left.End("b", "otto", now.Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	swap()
	for _, b := range []*Book{left, right} {
		got := map[string]string{}
		for _, a := range b.List() {
			got[a.Finding] = a.Why
			if a.Standing(now) != (a.Finding == "a") {
				t.Errorf("%s stands: %v", a.Finding, a.Standing(now))
			}
		}
		if d := cmp.Diff(map[string]string{"a": "second", "b": "other"}, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	if news, _ := left.Merge(right.List(), now); news {
		t.Error("Merge of the same says that there is news")
	}
	if _, err := left.End("b", "otto", now); err == nil {
		t.Error("End of what has ended: no error")
	}
	// After a restart too.
	again, err := Open(left.path)
	must(err)
	if d := cmp.Diff(left.List(), again.List()); d != "" {
		t.Errorf("read again (-want +got):\n%s", d)
	}
}

// TestClocks: what a person does on one server counts, though the other's clock was ahead when something was done there.
func TestClocks(t *testing.T) {
	left, right := open(t), open(t)
	ahead := now.Add(time.Minute)
	if err := left.Accept(of("a", "first", ahead)); err != nil {
		t.Fatal(err)
	}
	for i, do := range []func() error{
		func() error { _, err := right.End("a", "otto", now); return err },
		func() error { return right.Accept(of("a", "second", now)) },
	} {
		if _, err := right.Merge(left.List(), now); err != nil {
			t.Fatal(err)
		}
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if _, err := left.Merge(right.List(), now); err != nil {
			t.Fatal(err)
		}
		if a := left.List()[0]; a.Standing(now) != (i == 1) {
			t.Errorf("step %d: left has %+v", i, a)
		}
	}
}

func TestForgotten(t *testing.T) {
	b := open(t)
	old := of("old", "x", now.Add(-30*24*time.Hour))
	if news, err := b.Merge([]Acceptance{old, {}}, now); news || err != nil {
		t.Errorf("what ended weeks ago comes back: %v, %v", news, err)
	}
	for i := range most + 10 {
		b.put(of(strings.Repeat("x", i%400)+string(rune('a'+i/400)), "y", now))
	}
	if n := len(b.List()); n > most {
		t.Errorf("%d are kept; want %d at most", n, most)
	}
	if err := os.WriteFile(b.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Open(b.path); err == nil || len(b.List()) != 0 {
		t.Error("a damaged list: no error, or not empty")
	}
}
