package watch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/sync/state"
)

// run plays changes to a grouper at their times (ms), ticks it whenever it wants, and returns what it delivers with the time of delivery.
type at struct {
	ms int
	by string
	c  change
}

type told struct {
	MS    int
	ID    uint64
	Who   string
	Paths []state.Path
	Attrs []state.Path
	More  bool
}

var zero = time.Unix(1_700_000_000, 0)

func play(g *grouper, list []at) []told {
	var out []told
	tell := func(now time.Time, acts []Action) {
		for _, a := range acts {
			out = append(out, told{int(now.Sub(zero) / time.Millisecond), a.ID, a.Who.Program, a.Paths, a.Attrs, a.More})
		}
	}
	for _, x := range list {
		now := zero.Add(time.Duration(x.ms) * time.Millisecond)
		for {
			t, ok := g.due()
			if !ok || t.After(now) {
				break
			}
			tell(t, g.take(t))
		}
		tell(now, g.add(now, author{key: x.by, who: state.Who{Program: x.by}}, x.c))
	}
	for {
		t, ok := g.due()
		if !ok {
			return out
		}
		tell(t, g.take(t))
	}
}

func p(s ...state.Path) []state.Path { return s }

func TestGrouping(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []at
		want []told
	}{
		{
			"one write",
			[]at{{0, "vi", change{path: "etc/hosts"}}},
			[]told{{3, 1, "vi", p("etc/hosts"), nil, true}, {500, 1, "vi", nil, nil, false}},
		},
		{
			"one file written and closed is told sooner, what follows is a further part",
			[]at{
				{0, "sh", change{path: "etc/hosts", how: started, born: true}},
				{1, "sh", change{path: "etc/hosts", shut: true}},
				{3, "sh", change{path: "etc/motd", shut: true}},
				{4, "sh", change{path: "etc/hosts"}},
			},
			[]told{
				{2, 1, "sh", p("etc/hosts"), nil, true}, {10, 1, "sh", p("etc/hosts", "etc/motd"), nil, true}, {504, 1, "sh", nil, nil, false},
			},
		},
		{
			"a file that takes another's place is not told before its name has changed",
			[]at{
				{0, "sed", change{path: "etc/4711", how: started, born: true}},
				{1, "sed", change{path: "etc/4711", shut: true}},
				{1, "sed", change{path: "etc/hosts", came: true}},
				{1, "sed", change{path: "etc/4711", gone: true}},
			},
			[]told{{4, 1, "sed", p("etc/hosts"), nil, true}, {501, 1, "sed", nil, nil, false}},
		},
		{
			"useradd: files one after the other are one action in parts",
			[]at{
				{0, "useradd", change{path: "etc/passwd.1", how: started, born: true}},
				{1, "useradd", change{path: "etc/passwd.1", gone: true}},
				{2, "useradd", change{path: "etc/passwd"}},
				{4, "useradd", change{path: "etc/shadow"}},
				{20, "useradd", change{path: "etc/group"}},
				{300, "useradd", change{path: "etc/subuid"}},
			},
			[]told{
				{7, 1, "useradd", p("etc/passwd", "etc/shadow"), nil, true},
				{26, 1, "useradd", p("etc/group"), nil, true},
				{312, 1, "useradd", p("etc/subuid"), nil, true},
				{800, 1, "useradd", nil, nil, false},
			},
		},
		{
			"vi: what comes and goes within a part is not told",
			[]at{
				{0, "vi", change{path: "etc/4913", how: started, born: true}},
				{0, "vi", change{path: "etc/4913"}},
				{0, "vi", change{path: "etc/4913", gone: true}},
				{1, "vi", change{path: "etc/hosts~"}},
				{1, "vi", change{path: "etc/hosts", gone: true}},
				{2, "vi", change{path: "etc/hosts", how: started, born: true}},
				{3, "vi", change{path: "etc/hosts"}},
				{4, "vi", change{path: "etc/hosts~", gone: true}},
			},
			[]told{{7, 1, "vi", p("etc/hosts", "etc/hosts~"), nil, true}, {504, 1, "vi", nil, nil, false}},
		},
		{
			"only what came and went", []at{
				{0, "vi", change{path: "etc/4913", how: started, born: true}},
				{1, "vi", change{path: "etc/4913", gone: true}},
			}, nil,
		},
		{
			"removed and made anew is told",
			[]at{
				{0, "vi", change{path: "etc/a", gone: true}},
				{1, "vi", change{path: "etc/a", how: started, born: true}},
				{2, "vi", change{path: "etc/a", gone: true}},
			},
			[]told{{5, 1, "vi", p("etc/a"), nil, true}, {502, 1, "vi", nil, nil, false}},
		},
		{
			"what one part told as new is told as gone",
			[]at{
				{0, "a", change{path: "etc/a", born: true}},
				{100, "a", change{path: "etc/a", gone: true}},
			},
			[]told{{3, 1, "a", p("etc/a"), nil, true}, {106, 1, "a", p("etc/a"), nil, true}, {600, 1, "a", nil, nil, false}},
		},
		{
			"two people are two actions",
			[]at{{0, "anna", change{path: "etc/a"}}, {1, "bert", change{path: "etc/b"}}, {2, "anna", change{path: "etc/c"}}},
			[]told{
				{4, 2, "bert", p("etc/b"), nil, true},
				{5, 1, "anna", p("etc/a", "etc/c"), nil, true},
				{501, 2, "bert", nil, nil, false},
				{502, 1, "anna", nil, nil, false},
			},
		},
		{
			"half a second of silence parts actions",
			[]at{{0, "a", change{path: "etc/a"}}, {500, "a", change{path: "etc/b"}}},
			[]told{
				{3, 1, "a", p("etc/a"), nil, true},
				{500, 1, "a", nil, nil, false},
				{503, 2, "a", p("etc/b"), nil, true},
				{1000, 2, "a", nil, nil, false},
			},
		},
		{
			"an open file waits, and no longer than 0.1 s",
			[]at{
				{0, "a", change{path: "etc/a", how: started, born: true}},
				{1, "a", change{path: "etc/b"}},
			},
			[]told{{4, 1, "a", p("etc/b"), nil, true}, {100, 1, "a", p("etc/a"), nil, true}, {501, 1, "a", nil, nil, false}},
		},
		{
			"a new directory stands for what is in it; attributes of one do not",
			[]at{
				{0, "a", change{path: "etc/d", deep: true, born: true}},
				{1, "a", change{path: "etc/d/x"}},
				{1, "a", change{path: "etc/d-x"}},
				{1, "a", change{path: "etc/e", attr: true}},
				{1, "a", change{path: "etc/e/x"}},
				{1, "a", change{path: "etc/d/sub", attr: true}},
			},
			[]told{{4, 1, "a", p("etc/d", "etc/d-x", "etc/e/x"), p("etc/e"), true}, {501, 1, "a", nil, nil, false}},
		},
		{
			"writes to an open file",
			[]at{
				{0, "db", change{path: "etc/db", how: hint}},
				{100, "db", change{path: "etc/db", how: hint}},
				{900, "db", change{path: "etc/db", how: hint}},
				{5000, "db", change{path: "etc/db", how: hint}},
			},
			[]told{
				{703, 1, "db", p("etc/db"), nil, true},
				{1200, 1, "db", nil, nil, false},
				{10703, 2, "db", p("etc/db"), nil, true},
				{11200, 2, "db", nil, nil, false},
			},
		},
		{
			"a hint that is followed by a close is none",
			[]at{
				{0, "a", change{path: "etc/a", how: hint}},
				{10, "a", change{path: "etc/a"}},
			},
			[]told{{13, 1, "a", p("etc/a"), nil, true}, {510, 1, "a", nil, nil, false}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, play(newGrouper(), c.in)); d != "" {
				t.Errorf("told (-want +got):\n%s", d)
			}
		})
	}
}

// TestGroupingEver ends even an action that never pauses, and has the first part out soon.
func TestGroupingEver(t *testing.T) {
	var in []at
	for i := range 12_000 {
		in = append(in, at{i, "a", change{path: state.Path(fmt.Sprintf("etc/f%d", i%500))}})
	}
	out := play(newGrouper(), in)
	last := map[uint64]int{}
	for _, o := range out {
		last[o.ID] = o.MS
	}
	if out[0].MS != 25 {
		t.Errorf("the first part came after %d ms; want 25", out[0].MS)
	}
	if len(last) != 3 || last[1] != 5000 {
		t.Errorf("actions ended at %v; want one to end at 5000 ms and three in all", last)
	}
	if len(out) > 60 {
		t.Errorf("%d parts; want few", len(out))
	}
}

func TestGroupingBounds(t *testing.T) {
	var in []at
	for i := range 3 * maxPaths {
		in = append(in, at{0, "a", change{path: state.Path(fmt.Sprintf("etc/d%d/f%d", i%3, i))}})
	}
	g := newGrouper()
	out := play(g, in)
	if len(out) != 2 || len(out[0].Paths) > maxPaths {
		t.Fatalf("%d parts, the first with %d paths", len(out), len(out[0].Paths))
	}
	for _, x := range in {
		if !slices.ContainsFunc(out[0].Paths, x.c.path.Under) {
			t.Fatalf("%s is not told", x.c.path)
		}
	}
	if len(g.groups)+len(g.hints) != 0 {
		t.Error("something is kept after the end")
	}
}

// TestGroupingLosesNothing plays random changes and sees that what was changed last on each path is told after it, or never was there.
func TestGroupingLosesNothing(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var in []at
		ms := 0
		for range 200 {
			ms += r.IntN(1 + r.IntN(300))
			path := state.Path(fmt.Sprintf("etc/%d/%d", r.IntN(3), r.IntN(4)))
			c := change{path: path, how: how(r.IntN(3)), born: r.IntN(3) == 0}
			switch r.IntN(6) {
			case 0:
				c = change{path: path, gone: true}
			case 1:
				c = change{path: path.Dir(), deep: true}
			case 2:
				c = change{path: path.Dir(), attr: true}
			}
			in = append(in, at{ms, fmt.Sprint(r.IntN(3)), c})
		}
		out := play(newGrouper(), in)
		for i, x := range in {
			if x.c.gone { // it may have come and gone within a part
				continue
			}
			ok := slices.ContainsFunc(out, func(o told) bool {
				return o.MS >= x.ms && (slices.ContainsFunc(o.Paths, x.c.path.Under) || slices.Contains(o.Attrs, x.c.path))
			})
			later := slices.ContainsFunc(in[i+1:], func(y at) bool { return y.c.gone && y.c.path == x.c.path })
			if !ok && !later {
				t.Fatalf("seed %d: %+v is never told", seed, x)
			}
		}
		open := map[uint64]bool{}
		for _, o := range out {
			if done, ok := open[o.ID]; ok && done {
				t.Fatalf("seed %d: action %d goes on after its end", seed, o.ID)
			}
			open[o.ID] = !o.More
		}
		for id, done := range open {
			if !done {
				t.Fatalf("seed %d: action %d never ends", seed, id)
			}
		}
	}
}

func TestOutbox(t *testing.T) {
	o := newOutbox()
	o.put(Action{ID: 1, Paths: p("b"), More: true}, Action{ID: 2, Paths: p("x"), More: true}, Action{ID: 1, Paths: p("a"), Attrs: p("c")})
	want := []Action{{ID: 1, Paths: p("a", "b"), Attrs: p("c")}, {ID: 2, Paths: p("x"), More: true}}
	if d := cmp.Diff(want, o.list); d != "" {
		t.Errorf("parts of one action are not merged (-want +got):\n%s", d)
	}
	for i := range 3 * maxActions {
		o.put(Action{ID: uint64(i + 3), Paths: p("x")})
	}
	if len(o.list) > maxActions || !slices.ContainsFunc(o.list, func(a Action) bool { return a.Rescan }) {
		t.Errorf("%d actions wait; want at most %d, and one that looks at everything", len(o.list), maxActions)
	}
}

// What a process did that was gone before it could be asked for belongs to the only action in the same place.
func TestGoneProcess(t *testing.T) {
	g := newGrouper()
	now := time.Unix(1000, 0)
	anna := author{key: "login:1", who: state.Who{Program: "sh", User: "anna"}}
	gone := func(pid int) author { return author{key: fmt.Sprintf("pid:%d", pid)} }
	g.add(now, anna, change{path: "etc/web/a"})
	g.add(now.Add(time.Millisecond), gone(2), change{path: "etc/web/b"})
	g.add(now.Add(time.Millisecond), gone(3), change{path: "etc/web/conf.d/c"})
	g.add(now.Add(time.Millisecond), gone(4), change{path: "etc/mail/d"})
	got := map[string][]state.Path{}
	for _, a := range g.take(now.Add(time.Second)) {
		got[a.Who.User] = append(got[a.Who.User], a.Paths...)
	}
	want := map[string][]state.Path{"anna": {"etc/web/a", "etc/web/b", "etc/web/conf.d/c"}, "": {"etc/mail/d"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	bert := author{key: "login:2", who: state.Who{Program: "vi", User: "bert"}}
	now = now.Add(time.Minute)
	g.add(now, anna, change{path: "etc/web/a"})
	g.add(now, bert, change{path: "etc/web/b"})
	g.add(now, gone(5), change{path: "etc/web/c"})
	if n := len(g.take(now.Add(time.Second))); n != 3 {
		t.Errorf("%d actions; want 3: it may be of either", n)
	}
}

func TestInterprets(t *testing.T) {
	for name, want := range map[string]bool{
		"sh": true, "bash": true, "python3.13": true, "perl": true, "perl5.40-x86_64-linux": false, "ld-linux-x86-64.so.2": true, "php8.4": true,
		"mv": false, "shadow": false, "sed": false, "nodelist": false, "useradd": false, "envsubst": false,
	} {
		if got := interprets(name); got != want {
			t.Errorf("interprets(%q) = %v; want %v", name, got, want)
		}
	}
}
