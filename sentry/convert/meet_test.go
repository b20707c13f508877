package convert

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/sync/state"
)

func entry(text string) state.Entry {
	return state.Entry{Kind: state.File, Mode: 0o644, Owner: "root", Group: "root", Size: int64(len(text)), Data: state.Hash("hash of " + text)}
}

func stock(release int, files map[string]string) Stock {
	s := Stock{Release: release, Image: "x", Files: map[state.Path]state.Entry{"etc": {Kind: state.Dir, Mode: 0o755, Owner: "root", Group: "root"}}}
	for p, text := range files {
		s.Files[state.Path(p)] = entry(text)
	}
	return s
}

func TestMeet(t *testing.T) {
	theirs := stock(12, map[string]string{"etc/same": "s", "etc/newer": "12", "etc/gone": "12", "etc/edited": "colour", "etc/removed": "r", "etc/passwd": "root:0\n"})
	ours := stock(13, map[string]string{"etc/same": "s", "etc/newer": "13", "etc/fresh": "13", "etc/edited": "color", "etc/removed": "r13", "etc/passwd": "root:0\n_new:5\n"})
	files := NewTree(map[state.Path]File{
		"etc": {Entry: theirs.Files["etc"]}, "etc/same": {Entry: entry("s")}, "etc/newer": {Entry: entry("12")}, "etc/gone": {Entry: entry("12")},
		"etc/edited": {Entry: entry("my colour"), Data: []byte("my colour")}, "etc/own": {Entry: entry("mine"), Data: []byte("mine")},
		"etc/passwd": {Entry: entry("root:0\nanna:9"), Data: []byte("root:0\nanna:9")},
	})
	ours.Accounts = map[state.Path][]byte{"etc/passwd": []byte("root:0\n_new:5\n")}
	got, err := Meet(trial(), theirs, ours, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, p := range got.Tree.All() {
		f, _ := got.Tree.Get(p)
		switch {
		case f.Entry.Kind == state.Dir:
			told[string(p)] = "folder"
		case f.Stock:
			told[string(p)] = string(f.Entry.Data)
		default:
			told[string(p)] = string(f.Data)
		}
	}
	want := map[string]string{
		"etc": "folder", "etc/same": "hash of s", "etc/newer": "hash of 13", "etc/fresh": "hash of 13", "etc/edited": "my color", "etc/own": "mine",
		"etc/passwd": "root:0\nanna:9\n_new:5\n",
	}
	if d := cmp.Diff(want, told); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestStockText(t *testing.T) {
	s := stock(12, map[string]string{"etc/a": "1", "etc/b\n\xff": "2"})
	delete(s.Files, "etc/b\n\xff")
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseStock(text)
	if d := cmp.Diff(s, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func FuzzParseStock(f *testing.F) {
	text, err := stock(12, map[string]string{"etc/a": "1"}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseStock(text)
		if err != nil {
			return
		}
		again, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseStock(again)
		if d := cmp.Diff(s, got); d != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, d)
		}
	})
}

func told(t *Tree) map[string]string {
	out := map[string]string{}
	for _, p := range t.All() {
		f, _ := t.Get(p)
		text := string(f.Data)
		switch {
		case f.Entry.Kind == state.Dir:
			text = "folder"
		case f.Entry.Kind == state.Link:
			text = "-> " + f.Entry.Target
		case f.Stock:
			text = "stock " + string(f.Entry.Data)
		}
		out[string(p)] = fmt.Sprintf("%s %o", text, f.Entry.Mode)
	}
	return out
}

func own(text string, mode uint32) File {
	e := state.Entry{Kind: state.File, Mode: mode, Owner: "root", Group: "root", Size: int64(len(text)), Data: state.Blob([]byte(text))}
	return File{Entry: e, Data: []byte(text)}
}

// asRead is a tree as it is read again from a disk where it was written: hashes are those of content, and what is as shipped has none.
func asRead(t *Tree) *Tree {
	out := NewTree(nil)
	for _, p := range t.All() {
		f, _ := t.Get(p)
		f.Entry, f.Stock = f.whole(), false
		out.Put(p, f)
	}
	return out
}

// TestMeetAttributes: where only the mode was changed, the content follows the image and the mode stays.
func TestMeetAttributes(t *testing.T) {
	theirs, ours := stock(12, map[string]string{"etc/a": "12", "etc/d/x": "12", "etc/gone": "12"}), stock(13, map[string]string{"etc/a": "13", "etc/d/x": "13"})
	dir := state.Entry{Kind: state.Dir, Mode: 0o755, Owner: "root", Group: "root"}
	theirs.Files["etc/d"], ours.Files["etc/d"] = dir, dir
	changed := func(e state.Entry, mode uint32) state.Entry { e.Mode = mode; return e }
	files := NewTree(map[state.Path]File{
		"etc": {Entry: dir}, "etc/d": {Entry: changed(dir, 0o700)}, "etc/d/x": {Entry: theirs.Files["etc/d/x"]},
		"etc/a":    {Entry: changed(theirs.Files["etc/a"], 0o600), Data: []byte("12")},
		"etc/gone": {Entry: changed(theirs.Files["etc/gone"], 0o600), Data: []byte("12")},
	})
	got, err := Meet(trial(), theirs, ours, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"etc": "folder 755", "etc/a": "stock hash of 13 600", "etc/d": "folder 700", "etc/d/x": "stock hash of 13 644", "etc/gone": "12 600"}
	if d := cmp.Diff(want, told(got.Tree)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestMeetInTheWay: what is a folder on one side and something else on the other.
func TestMeetInTheWay(t *testing.T) {
	dir := state.Entry{Kind: state.Dir, Mode: 0o755, Owner: "root", Group: "root"}
	theirs, ours := stock(12, map[string]string{"etc/l/x": "12", "etc/f/x": "12"}), stock(13, map[string]string{"etc/l/new": "13", "etc/f": "13"})
	theirs.Files["etc/l"], theirs.Files["etc/f"], ours.Files["etc/l"] = dir, dir, dir
	link := state.Entry{Kind: state.Link, Mode: 0o777, Owner: "root", Group: "root", Target: "/srv/l"}
	got, err := Meet(trial(), theirs, ours, NewTree(map[state.Path]File{
		"etc": {Entry: dir}, "etc/l": {Entry: link}, "etc/f": {Entry: dir}, "etc/f/x": {Entry: theirs.Files["etc/f/x"]}, "etc/f/mine": own("mine", 0o644),
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"etc": "folder 755", "etc/l": "-> /srv/l 777", "etc/f": "folder 755", "etc/f/mine": "mine 644"}
	if d := cmp.Diff(want, told(got.Tree)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestMeetAndBack: a set goes to another release and back, and has what it had, with what was changed in between.
func TestMeetAndBack(t *testing.T) {
	twelve := stock(12, map[string]string{"etc/motd": "12", "etc/removed": "r", "etc/only12": "o", "etc/old": "colour", "etc/passwd": "p12", "etc/default13": "12"})
	thirteen := stock(13, map[string]string{"etc/motd": "13", "etc/new": "color", "etc/passwd": "p13"})
	thirteen.Files["etc/default13"] = own("my colour\n", 0o644).Entry                            // what the person wrote on 12 is the default on 13
	thirteen.Files["etc/converted13"] = own("color 1\n", 0o644).Entry                            // and here what the conversion makes of it
	twelve.Accounts = map[state.Path][]byte{"etc/passwd": []byte("root:0\ngames:5\nonly12:6\n")} // people removed the last two
	thirteen.Accounts = map[state.Path][]byte{"etc/passwd": []byte("root:0\n_new:7\ngames:5\n")}
	steps := trial()[:3]
	before := NewTree(map[state.Path]File{
		"etc": {Entry: twelve.Files["etc"]}, "etc/motd": {Entry: twelve.Files["etc/motd"]},
		"etc/old": own("# mine\ncolour 1\nlegacy x\ncolour 9\n", 0o640), "etc/passwd": own("root:HASH\nanna:1000\n", 0o644),
		"etc/default13": own("my colour\n", 0o644), "etc/converted13": own("colour 1\nlegacy y\n", 0o644), "etc/mine": own("mine\n", 0o644),
	})
	there, err := Meet(steps, twelve, thirteen, before, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{
		"etc": "folder 755", "etc/motd": "stock hash of 13 644", "etc/new": "# mine\ncolor 1\ncolor 9\n 640", "etc/passwd": "root:HASH\nanna:1000\n_new:7\n 644",
		"etc/default13": "my color\n 644", "etc/converted13": "color 1\n 644", "etc/mine": "mine\n 644",
	}, told(there.Tree)); d != "" {
		t.Fatalf("there (-want +got):\n%s", d)
	}
	text, err := there.Kept.Encode()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := ParseKept(text)
	if err != nil {
		t.Fatal(err)
	}
	want := told(before)
	want["etc/motd"] = "stock hash of 12 644"
	back := func(name string, change func(*Tree), more map[string]string) Result {
		t.Helper()
		now := asRead(there.Tree)
		change(now)
		got, err := Meet(steps, thirteen, twelve, now, &kept)
		if err != nil {
			t.Fatal(err)
		}
		w := maps.Clone(want)
		for p, text := range more {
			w[p] = text
			if text == "" {
				delete(w, p)
			}
		}
		if d := cmp.Diff(w, told(got.Tree)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		return got
	}
	if got := back("untouched", func(*Tree) {}, nil); len(got.Findings) > 0 {
		t.Errorf("told of what is as it was: %+v", got.Findings)
	}
	got := back("changed there", func(now *Tree) {
		now.Put("etc/new", own("# mine\ncolor 2\ncolor 9\n", 0o640))
		now.Put("etc/passwd", own("root:HASH\nanna:1000\n_new:7\nberta:1001\n", 0o644))
	}, map[string]string{"etc/old": "# mine\ncolour 2\nlegacy x\ncolour 9\n 640", "etc/passwd": "root:HASH\nanna:1000\n_new:7\nberta:1001\n 644"})
	for _, f := range got.Findings {
		if f.Path != "etc/new" && f.Path != "etc/old" {
			t.Errorf("told of what was not changed: %+v", f)
		}
	}
	back("removed there, and mode changed", func(now *Tree) {
		now.Remove("etc/new")
		now.Put("etc/mine", own("mine\n", 0o600))
	}, map[string]string{"etc/old": "", "etc/mine": "mine\n 600"})
	if other, err := Meet(steps, thirteen, twelve, asRead(there.Tree), &Kept{From: 11, To: 13}); err != nil || string(other.Tree.Text("etc/old")) != "# mine\ncolour 1\ncolour 9\n" {
		t.Errorf("with a record of another way: %v, %q", err, other.Tree.Text("etc/old"))
	}
}
