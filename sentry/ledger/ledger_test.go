package ledger

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var t0 = time.Date(2026, 3, 4, 3, 12, 0, 0, time.UTC)

// entry n minutes after t0, with services: a name, "-name" = not good.
func entry(n int, kind, server string, services ...string) Entry {
	at := t0.Add(time.Duration(n) * time.Minute)
	e := Entry{ID: ID(kind, at), Kind: kind, At: at, Done: at.Add(time.Minute), Server: server, Set: "s", Role: "secondary", Image: "1", Live: "c" + string(rune('0'+n)), Good: true}
	for _, s := range services {
		name, bad := strings.CutPrefix(s, "-")
		e.Services = append(e.Services, Service{Name: name, Good: !bad})
		e.Good = e.Good && !bad
	}
	return e
}

func newestFirst(list ...Entry) []Entry {
	var out []Entry
	for _, e := range list {
		out = append([]Entry{e}, out...)
	}
	return out
}

// untold makes what is not good in an entry what is only not known.
func untold(e Entry) Entry {
	e.Services = slices.Clone(e.Services)
	for i := range e.Services {
		e.Services[i].Untold = !e.Services[i].Good
	}
	return e
}

func TestProofs(t *testing.T) {
	other := entry(5, Start, "right", "web")
	other.Image = "2"
	noLive := entry(6, Start, "right", "web")
	noLive.Live = ""
	underWay := entry(7, Start, "right", "web")
	underWay.Done = time.Time{}
	for _, c := range []struct {
		name string
		list []Entry
		want map[string]string // service: commit
	}{
		{"nothing", nil, map[string]string{}},
		{"a boot", newestFirst(entry(1, Start, "right", "web", "db")), map[string]string{"web": "c1", "db": "c1"}},
		{"a part is newer", newestFirst(entry(1, Start, "right", "web", "db"), entry(2, Rehearsal, "right", "web")), map[string]string{"web": "c2", "db": "c1"}},
		{"a failed one proves the others", newestFirst(entry(1, Start, "right", "web", "db"), entry(2, Rehearsal, "right", "-web", "db")), map[string]string{"web": "c1", "db": "c2"}},
		{"in another server", newestFirst(entry(1, Start, "left", "web")), map[string]string{}},
		{"with another image", newestFirst(other), map[string]string{}},
		{"with what is not known", newestFirst(noLive), map[string]string{}},
		{"under way", newestFirst(underWay), map[string]string{}},
	} {
		got := map[string]string{}
		for name, p := range Proofs(c.list, "right", "1") {
			got[name] = p.Live
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: Proofs (-want +got):\n%s", c.name, d)
		}
	}
}

func TestFailed(t *testing.T) {
	for _, c := range []struct {
		name string
		list []Entry
		want string // services that failed
	}{
		{"nothing", nil, ""},
		{"good", newestFirst(entry(1, Start, "right", "web")), ""},
		{"failed", newestFirst(entry(1, Start, "right", "-web", "db")), "web"},
		{"failed, another one good since", newestFirst(entry(1, Start, "right", "-web", "-db"), entry(2, Rehearsal, "right", "db")), "web"},
		{"failed, good since", newestFirst(entry(1, Start, "right", "-web"), entry(2, Rehearsal, "right", "web")), ""},
		{"not seen from everywhere", newestFirst(untold(entry(1, Start, "right", "-web", "db"))), ""},
		{"failed, and not seen from everywhere since", newestFirst(entry(1, Start, "right", "-web"), untold(entry(2, Rehearsal, "right", "-web"))), "web"},
		{"in the other server", newestFirst(entry(1, Start, "left", "-web")), ""},
	} {
		e, ok := Failed(c.list, "right")
		var got []string
		for _, s := range e.Services {
			got = append(got, s.Name)
		}
		if strings.Join(got, " ") != c.want || ok != (c.want != "") {
			t.Errorf("%s: Failed = %v, %v; want %q", c.name, got, ok, c.want)
		}
	}
}

func TestLast(t *testing.T) {
	swap := entry(3, Start, "right", "web")
	swap.From, swap.Role = "left", "primary"
	bad := swap
	bad.At, bad.Good = t0.Add(time.Hour), false
	full := entry(4, Rehearsal, "right", "web")
	full.All = true
	list := newestFirst(entry(1, Start, "left", "web"), swap, full, entry(5, Rehearsal, "right", "web"), bad)
	if e, ok := LastSwap(list); !ok || e.ID != swap.ID {
		t.Errorf("LastSwap = %+v, %v; want the good one", e, ok)
	}
	if _, ok := LastSwap(list[3:4]); ok && list[3].ID != swap.ID {
		t.Error("LastSwap of no swap: found one")
	}
	if e, ok := LastProven(list, "right"); !ok || e.ID != full.ID {
		t.Errorf("LastProven = %+v, %v; want the rehearsal of all", e, ok)
	}
	if at := LastFull(list, "right"); !at.Equal(bad.At) {
		t.Errorf("LastFull = %v; want the newest, good or not", at)
	}
	if s := RanBefore(newestFirst(entry(1, Start, "left"), entry(2, Rehearsal, "right")), "s"); s != "left" {
		t.Errorf("RanBefore = %q; want left: a rehearsal is no start", s)
	}
	if s := RanBefore(list, "x"); s != "" {
		t.Errorf("RanBefore of another set = %q", s)
	}
}

func TestBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	e := entry(1, Start, "right", "web")
	e.Done = time.Time{}
	for _, e := range []Entry{e, entry(2, Rehearsal, "right", "web"), entry(1, Start, "right", "web")} {
		if err := b.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	if b, err = Open(path); err != nil {
		t.Fatal(err)
	}
	list, _ := b.List()
	if d := cmp.Diff(newestFirst(entry(1, Start, "right", "web"), entry(2, Rehearsal, "right", "web")), list); d != "" {
		t.Errorf("List (-want +got):\n%s", d)
	}
	if err := os.WriteFile(path, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err = Open(path)
	if list, _ := b.List(); err == nil || len(list) != 0 {
		t.Errorf("a damaged ledger: %v, %d entries; want an error and none", err, len(list))
	}
	if err := b.Put(e); err != nil {
		t.Errorf("Put after damage: %v", err)
	}
	if _, err := os.Stat(path + ".damaged"); err != nil {
		t.Error(err)
	}
}

func TestBounded(t *testing.T) {
	var list []Entry
	for i := range 1000 {
		e := Entry{ID: string(rune(i)), Kind: []string{Start, Rehearsal}[i%2]}
		if i%10 == 0 {
			e.From = "left"
		}
		list = append(list, e)
	}
	got := bounded(list)
	n := map[string]int{}
	for i, e := range got {
		n[e.Kind]++
		if e.Swap() {
			n["swap"]++
		}
		if i > 0 && got[i-1].ID == e.ID {
			t.Error("twice the same")
		}
	}
	if n["swap"] != 100 || n[Start] != 100+mostStarts || n[Rehearsal] != mostRehearsals {
		t.Errorf("kept %v; want 100 swaps, %d starts beside and %d rehearsals", n, mostStarts, mostRehearsals)
	}
	if got[len(got)-1].ID != list[999].ID {
		t.Error("the newest is not the last")
	}
}

func TestWords(t *testing.T) {
	swap := entry(1, Start, "right", "web")
	swap.From, swap.Role, swap.Took = "left", "primary", 41*time.Second
	all := entry(2, Rehearsal, "right", "web")
	all.All, all.Why, all.Took = true, "nightly", 4200*time.Millisecond
	part := entry(3, Rehearsal, "right", "web", "-db")
	part.Why, part.Words, part.Services[0].Title = "after a change", "db: exited", "Web server"
	underWay := entry(4, Start, "left")
	underWay.Good, underWay.Done = false, time.Time{}
	for _, c := range []struct {
		e            Entry
		what, result string
	}{
		{swap, "primary set swapped from LEFT into RIGHT", "all good after 41 s"},
		{all, "RIGHT rehearsed: all services (nightly)", "all good after 4.2 s"},
		{part, "RIGHT rehearsed: Web server, db (after a change)", "NOT GOOD: db: exited"},
		{untold(part), "RIGHT rehearsed: Web server, db (after a change)", "not proven: db: exited"},
		{underWay, "LEFT started with the secondary set", "not proven yet"},
	} {
		if c.e.What() != c.what || c.e.Result() != c.result {
			t.Errorf("%q, %q; want %q, %q", c.e.What(), c.e.Result(), c.what, c.result)
		}
	}
	if got := Merge([]Entry{all, swap}, []Entry{part, swap}); len(got) != 3 || got[0].ID != part.ID || got[2].ID != swap.ID {
		t.Errorf("Merge = %+v", got)
	}
}
