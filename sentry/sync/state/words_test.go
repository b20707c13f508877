package state

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain, ünï 中":             "plain, ünï 中",
		"\x1b[31mred\x1b[0m":       `\x1b[31mred\x1b[0m`,
		"bell\a tab\t end\n":       `bell\a tab\t end\n`,
		"\u202egnp.exe":            `\u202egnp.exe`,
		"c1 \u009b31m":             `c1 \u009b31m`,
		"latin1 \xfc":              `latin1 \xfc`,
		"nul \x00":                 `nul \x00`,
		"\u2066x\u2069 \U000e0041": `\u2066x\u2069 \U000e0041`,
		"":                         "",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %s; want %s", in, got, want)
		}
	}
	if got := PrintableText("\ta\tb\x1b"); got != "\ta\tb\\x1b" {
		t.Errorf("PrintableText keeps no tabs: %q", got)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("x\x1b]0;\xff\u202e\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := Printable(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Printable(%q) = %q", s, got)
		}
		if again := Printable(got); again != got {
			t.Errorf("Printable(%q) = %q, and then %q", s, got, again)
		}
	})
}

func FuzzPathJSON(f *testing.F) {
	f.Add("etc/\xff\xfe/ü\ufffd")
	f.Add("etc/hosts")
	f.Add("a\x00\xc3\x00zz\x00")
	f.Fuzz(func(t *testing.T, s string) {
		var back Text
		if data, err := json.Marshal(Text(s)); err != nil || json.Unmarshal(data, &back) != nil || back != Text(s) {
			t.Errorf("%q as JSON is %s, %v, and back %q", s, data, err, back)
		}
		p := Path(s)
		if p.Check() != nil {
			return
		}
		for _, in := range []any{p, Touched{Path: p}} {
			data, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			switch in := in.(type) {
			case Path:
				var out Path
				if err := json.Unmarshal(data, &out); err != nil || out != in {
					t.Errorf("%q as JSON is %s, and back %q, %v", in, data, out, err)
				}
			case Touched:
				var out Touched
				if err := json.Unmarshal(data, &out); err != nil || out != in {
					t.Errorf("%q in %s, and back %q, %v", p, data, out.Path, err)
				}
			}
		}
	})
}

func TestPathFromOutside(t *testing.T) {
	var p Path
	for _, bad := range []string{`"a\u0000"`, `"a\u0000f"`, `"a\u0000zz"`} {
		if err := json.Unmarshal([]byte(bad), &p); err == nil {
			t.Errorf("%s became %q", bad, p)
		}
	}
	if err := json.Unmarshal([]byte(`"a\u000000"`), &p); err != nil || p.Check() == nil {
		t.Errorf("a zero byte: %v, %v", err, p.Check())
	}
	for in, want := range map[string]Path{"/etc/hosts": "etc/hosts", "/": "", "": "", "/etc/": "etc", "@db/pg/roles.sql": "@db/pg/roles.sql", "/@db/x": "@db/x"} {
		if got, err := ParsePath(in); err != nil || got != want {
			t.Errorf("ParsePath(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"etc/hosts", "/etc/../x", "/..", "../x", "/etc//x", "@db/../etc", "/./x", "/a\x00"} {
		if got, err := ParsePath(bad); err == nil {
			t.Errorf("ParsePath(%q) = %q", bad, got)
		}
	}
}

func TestEventWords(t *testing.T) {
	file := func(p Path, verb string) Touched { return Touched{Path: p, Verb: verb} }
	for _, c := range []struct {
		e    Event
		want string
	}{
		{Event{Files: []Touched{file("etc/a", "added")}}, "added /etc/a"},
		{Event{Files: []Touched{file("etc/a", "attributes changed")}}, "changed attributes of /etc/a"},
		{Event{Files: []Touched{file("etc/a\n", "added"), file("etc/b", "removed")}}, `changed /etc/a\n, /etc/b`},
		{Event{Files: []Touched{file("@db/pg/x", "changed")}}, "changed @db/pg/x"},
		{Event{Files: make([]Touched, 20), More: 3, Below: "etc/web"}, " 23 files below /etc/web"},
		{Event{Commit: Commit{Title: "rolled back\x1b /etc/a", Rollback: "x"}, Files: []Touched{file("etc/a", "changed")}}, `rolled back\x1b /etc/a`},
	} {
		if got := c.e.What(); got != c.want {
			t.Errorf("What = %q; want %q", got, c.want)
		}
	}
	if got := (Commit{Note: "found when the server started\nmore"}).By(); got != "found when the server started" {
		t.Errorf("By = %q", got)
	}
	if got := (Commit{Who: Who{Program: "x\x1b", User: "y"}, Note: "z"}).By(); got != `x\x1b, by y` {
		t.Errorf("By = %q", got)
	}
}
