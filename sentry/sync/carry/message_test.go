package carry

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

func sampleOffer() Offer {
	return Offer{
		Protocol: Protocol, Server: "left", Versions: Versions{"1.0", "13"}, Site: testSite, Set: testSet, Lineage: lineage0, Branch: state.Site,
		Base: strings.Repeat("1", 40), Head: Point{strings.Repeat("2", 40), 7}, Pack: strings.Repeat("3", 64), Size: 100, Offset: 10,
	}
}

func TestMessagesSurvive(t *testing.T) {
	o := sampleOffer()
	head, err := frame(o)
	ok(t, err)
	got, n, err := readOffer(bytes.NewReader(append(head, "rest"...)), Versions{})
	if err != nil || n != int64(len(head)) {
		t.Fatalf("readOffer = %d, %v; want %d", n, err, len(head))
	}
	if d := cmp.Diff(o, got); d != "" {
		t.Error(d)
	}
	h := hello()
	h.Allowed = o.Head
	gotHello, err := decodeHello(encode(h), Versions{})
	ok(t, err)
	if d := cmp.Diff(h, gotHello); d != "" {
		t.Error(d)
	}
	s := State{Protocol: Protocol, Server: "right", Versions: Versions{"1.1", "13"}, Head: o.Head, Partial: &Partial{o.Pack, o.Base, o.Head, 100, 10}, Busy: true}
	gotState, err := decodeState(encode(s), Versions{})
	ok(t, err)
	if d := cmp.Diff(s, gotState); d != "" {
		t.Error(d)
	}
	p := Progress{
		Epoch: "E", N: 3, Head: o.Head, Live: o.Head, State: Checking, Got: 1, Size: 2, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Findings: []initapi.Finding{{ID: "x", What: "y"}}, Versions: Versions{"1.1", "13"},
	}
	gotProgress, err := decodeProgress(encode(p))
	ok(t, err)
	if d := cmp.Diff(p, gotProgress); d != "" {
		t.Error(d)
	}
	part, good := parseSpool(o.spoolName())
	if want := (Partial{o.Pack, o.Base, o.Head, 100, 0}); !good || part != want {
		t.Errorf("parseSpool = %+v, %v; want %+v", part, good, want)
	}
	o.Base = ""
	if part, good := parseSpool(o.spoolName()); !good || part.Base != "" {
		t.Errorf("parseSpool without base = %+v, %v", part, good)
	}
}

func TestTextFromOutsideIsCut(t *testing.T) {
	long := strings.Repeat("ä", maxText)
	p, err := decodeProgress(encode(Progress{Epoch: "E", Findings: []initapi.Finding{{What: long, Where: "a\x1b[2Jb"}}}))
	ok(t, err)
	if n := len(p.Findings[0].What); n > maxText+3 || p.Findings[0].Where != "a[2Jb" {
		t.Errorf("finding with %d bytes, at %q", n, p.Findings[0].Where)
	}
	if r := decodeRefusal(encode(refusal{Error: long}), ""); len(r.Msg) > maxText+3 {
		t.Errorf("refusal with %d bytes", len(r.Msg))
	}
}

func TestSourceOf(t *testing.T) {
	l := roles.Label{Site: testSite, Set: testSet, Members: []roles.Member{{ID: "a"}, {ID: "b"}, {ID: "c"}}}
	s0 := SourceOf(l)
	l1 := l.Eject(1, "pulled")
	s1 := SourceOf(l1)
	s2 := SourceOf(l1.Eject(2, "pulled"))
	other := SourceOf(l.Eject(2, "pulled"))
	gave := other
	gave.GaveUp = []string{s1.Head()}
	for _, s := range []Source{s0, s1, s2, other} {
		ok(t, s.check())
	}
	if s0.Head() != l.Head() || s1.Head() != l1.Head() {
		t.Errorf("heads %s, %s; want %s, %s", s0.Head(), s1.Head(), l.Head(), l1.Head())
	}
	foreign := Source{Site: testSite, Set: "another", Lineage: []string{lineage1}}
	cases := []struct {
		what     string
		old, new Source
		code     Code
	}{
		{"first contact", Source{}, s2, ""},
		{"the same", s1, s1, ""},
		{"a member left", s0, s1, ""},
		{"two members left", s0, s2, ""},
		{"an older one", s2, s1, CodeLineage},
		{"as made", s2, s0, CodeLineage},
		{"ran apart", s1, other, CodeLineage},
		{"ran apart and given up", s1, gave, ""},
		{"another set", s2, foreign, ""},
	}
	for _, c := range cases {
		if err := c.new.follows(c.old); CodeOf(err) != c.code {
			t.Errorf("%s: follows = %v; want %q", c.what, err, c.code)
		}
	}
	// After another set was followed, an older lineage of the first is still known.
	f := followed{}
	for _, s := range []Source{s2, foreign} {
		n, err := f.next(s)
		ok(t, err)
		f = *n
	}
	path := filepath.Join(t.TempDir(), "source.json")
	ok(t, f.save(path))
	f, err := loadFollowed(path)
	ok(t, err)
	if _, err := f.next(s1); CodeOf(err) != CodeLineage {
		t.Errorf("an older lineage after another set = %v; want %s", err, CodeLineage)
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{longest: 5 * time.Second}
	var last time.Duration
	for range 20 {
		last = b.next()
		if last <= 0 || last > 5*time.Second*5/4 {
			t.Fatalf("next = %s", last)
		}
	}
	if last < 5*time.Second*3/4 {
		t.Errorf("the 20th wait is %s", last)
	}
	b.reset()
	if d := b.next(); d > 100*time.Millisecond {
		t.Errorf("the first wait after reset is %s", d)
	}
}

func FuzzOffer(f *testing.F) {
	good, _ := frame(sampleOffer())
	f.Add(good)
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		o, n, err := readOffer(bytes.NewReader(data), Versions{"1.0", "13"})
		if err != nil {
			return
		}
		if n > int64(len(data)) || o.Size <= 0 || o.Offset < 0 || o.Offset > o.Size || o.Branch != state.Site {
			t.Fatalf("accepted %+v", o)
		}
		name := o.spoolName()
		if strings.ContainsAny(name, "/\x00") || len(name) > 255 {
			t.Fatalf("file name %q", name)
		}
		if p, good := parseSpool(name); !good || p.Pack != o.Pack || p.Base != o.Base || p.Head != o.Head || p.Size != o.Size {
			t.Fatalf("parseSpool(%q) = %+v, %v", name, p, good)
		}
	})
}

func FuzzMessages(f *testing.F) {
	f.Add(encode(hello()))
	f.Add(encode(State{Protocol: Protocol, Head: sampleOffer().Head, Partial: &Partial{}}))
	f.Add(encode(Progress{Epoch: "E", N: 1, State: InStep, Findings: []initapi.Finding{{What: "x\x00\x1b"}}}))
	f.Add(encode(refusal{Error: "x", Code: CodeBase, State: &State{Protocol: Protocol}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := decodeHello(data, Versions{}); err == nil && (h.Head() == "" || h.Site == "" || h.Protocol != Protocol) {
			t.Fatalf("accepted %+v", h)
		}
		if s, err := decodeState(data, Versions{}); err == nil && s.Partial != nil && s.Partial.Got > s.Partial.Size {
			t.Fatalf("accepted %+v", s)
		}
		if p, err := decodeProgress(data); err == nil {
			if len(p.Findings) > maxFindings || p.Epoch == "" {
				t.Fatalf("accepted %+v", p)
			}
			for _, f := range p.Findings {
				if strings.ContainsAny(f.What+f.Where+f.Next+f.ID, "\x00\x1b\r") {
					t.Fatalf("control characters in %+q", f.What+f.Where+f.Next+f.ID)
				}
			}
			if _, err := json.Marshal(p); err != nil {
				t.Fatal(err)
			}
		}
		if r := decodeRefusal(data, "500 broken"); r.Msg == "" || len(r.Msg) > maxText+8 {
			t.Fatalf("refusal %+v", r)
		}
	})
}

func FuzzSpoolName(f *testing.F) {
	f.Add(sampleOffer().spoolName())
	f.Add("incoming-----")
	f.Fuzz(func(t *testing.T, name string) {
		p, good := parseSpool(name)
		if good && (State{Partial: &p}).check() != nil {
			t.Fatalf("parseSpool(%q) = %+v", name, p)
		}
	})
}
