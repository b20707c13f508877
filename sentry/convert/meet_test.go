package convert

import (
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
	got, err := Meet(trial(), theirs, ours, files, func(state.Path) ([]byte, error) { return []byte("root:0\n_new:5\n"), nil })
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
