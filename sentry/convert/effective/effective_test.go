package effective_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sayasystems.com/atlas/sentry/convert/effective"
	"sayasystems.com/atlas/sentry/convert/facts"
)

func release(number int, params map[string]string) *facts.Release {
	s := facts.Service{Params: map[string]facts.Param{}}
	for n, d := range params {
		s.Params[n] = facts.Param{Default: d}
	}
	return &facts.Release{Number: number, Services: map[string]facts.Service{
		"web": s, "postgresql": {Version: map[int]string{12: "15.20", 13: "17.12"}[number]}, "php": {Version: map[int]string{12: "8.2.36", 13: "8.4.28"}[number]},
	}}
}

func TestCompare(t *testing.T) {
	from := release(12, map[string]string{"both": "1", "gone_word": "x", "changed": "a", "hidden": "9"})
	from.Services["web"].Params["idle"] = facts.Param{Status: facts.Ignored}
	to := release(13, map[string]string{"both": "1", "fresh_word": "y", "changed": "b", "hidden": "9"})
	rules := effective.Rules{Service: "web", Own: []string{"listen*"}, Guards: []string{"*allow", "[[]*] guest"}, Ships: []effective.Ship{
		{Name: "shipped", Values: map[int]string{12: "old", 13: "new"}}, {Name: "more *", Values: map[int]string{13: "new"}},
	}}
	for _, c := range []struct {
		name, theirs, ours, told string
		want                     map[string]effective.Why
	}{
		{name: "the same in other words", theirs: "a = on\nb = 0.50\nc =  x  y\n~d = No", ours: "a = yes\nb = 0.5\nc = x y\n~d = false"},
		{name: "another default that nobody sets", theirs: "~changed = a", ours: "~changed = b", want: map[string]effective.Why{"changed": effective.Default}},
		{name: "the old default was said, and is lost", theirs: "changed = a", ours: "~changed = b", want: map[string]effective.Why{"changed": effective.None}},
		{name: "said here only", theirs: "~changed = a", ours: "changed = b", want: map[string]effective.Why{"changed": effective.None}},
		{name: "known to one", theirs: "~gone_word = x", ours: "~fresh_word = y", want: map[string]effective.Why{"gone_word": effective.Known, "fresh_word": effective.Known}},
		{name: "set, and not known here", theirs: "gone_word = z", ours: "", want: map[string]effective.Why{"gone_word": effective.None}},
		{
			name: "set, and told that it is not known here", theirs: "gone_word = z", ours: "", told: "web does not know gone_word; the line is made a remark.",
			want: map[string]effective.Why{"gone_word": effective.Told},
		},
		{name: "told as the file spells it", theirs: "gone_word = z", ours: "", told: "web does not know Gone-Word.", want: map[string]effective.Why{"gone_word": effective.Told}},
		{name: "a short word that is not known", theirs: "fresh = z", ours: "", told: "web does not know fresh; …", want: map[string]effective.Why{"fresh": effective.Told}},
		{name: "without effect", theirs: "idle = z", ours: "", want: map[string]effective.Why{"idle": effective.Idle}},
		{name: "told of another word", theirs: "gone_word = z", ours: "", told: "gone_words, my_gone_word", want: map[string]effective.Why{"gone_word": effective.None}},
		{name: "a word of any sentence", theirs: "path = z", ours: "path = y", told: "the path is", want: map[string]effective.Why{"path": effective.None}},
		{name: "a listing without defaults", theirs: "hidden = 9", ours: ""},
		{name: "left out here, and not the default", theirs: "hidden = 8", ours: "", want: map[string]effective.Why{"hidden": effective.None}},
		{
			name: "versions", theirs: "a = /etc/postgresql/15/main\nb = /etc/php/8.2/apache2\nc = postgresql@15", ours: "a = /etc/postgresql/17/main\nb = /etc/php/8.4/apache2\nc = postgresql@17",
			want: map[string]effective.Why{"a": effective.Version, "b": effective.Version, "c": effective.Version},
		},
		{name: "numbers that only look like versions", theirs: "a = 10.0.0.0/15\nb = 15", ours: "a = 10.0.0.0/17\nb = 17", want: map[string]effective.Why{"a": effective.None, "b": effective.None}},
		{name: "names of servers", theirs: "a = left:80 10.7.0.1", ours: "a = right:80 10.7.0.2", want: map[string]effective.Why{"a": effective.Server}},
		{name: "no names of servers", theirs: "a = lefty\nb = 10.7.0.11", ours: "a = righty\nb = 10.7.0.21", want: map[string]effective.Why{"a": effective.None, "b": effective.None}},
		{name: "own", theirs: "listen = 1\nlisten_more/x = 1", ours: "listen = 2"},
		{name: "shipped", theirs: "shipped = old", ours: "shipped = new\nmore a = new", want: map[string]effective.Why{"shipped": effective.Shipped, "more a": effective.Shipped}},
		{name: "shipped the other way round", theirs: "shipped = new", ours: "shipped = old", want: map[string]effective.Why{"shipped": effective.None}},
		{
			name: "guards are not explained by what was told", theirs: "hosts allow = 10.\n[a] guest = no", ours: "hosts allow = all", told: "hosts allow, [a] guest",
			want: map[string]effective.Why{"hosts allow": effective.None, "[a] guest": effective.None},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			theirs, err := effective.ParseSettings([]byte(c.theirs))
			if err != nil {
				t.Fatal(err)
			}
			ours, err := effective.ParseSettings([]byte(c.ours))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]effective.Why{}
			for _, d := range effective.Compare(rules, effective.Side{Settings: theirs, Facts: from, Names: []string{"left", "10.7.0.1"}},
				effective.Side{Settings: ours, Facts: to, Names: []string{"right", "10.7.0.2"}}, []string{c.told}) {
				got[d.Name] = d.Why
				if want := strings.HasSuffix(d.Name, "allow") || strings.HasSuffix(d.Name, "guest"); d.Guard != want {
					t.Errorf("%s: guard %v", d.Name, d.Guard)
				}
			}
			if d := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestReleases: what the facts of two releases say of every service explains itself, both ways: nobody has set anything.
func TestReleases(t *testing.T) {
	for _, way := range [][2]int{{11, 12}, {12, 11}, {12, 13}, {13, 12}, {11, 13}, {13, 11}} {
		from, err := facts.Of(way[0])
		if err != nil {
			t.Fatal(err)
		}
		to, err := facts.Of(way[1])
		if err != nil {
			t.Fatal(err)
		}
		for service := range from.Services {
			assumed := func(r *facts.Release) effective.Settings {
				s := effective.Settings{}
				for n, p := range r.Services[service].Params {
					s[n] = effective.Value{Text: p.Default, Default: true}
				}
				return s
			}
			for _, d := range effective.Compare(effective.Rules{Service: service, Guards: []string{"*"}},
				effective.Side{Settings: assumed(from), Facts: from}, effective.Side{Settings: assumed(to), Facts: to}, nil) {
				if d.Why == effective.None {
					t.Errorf("Debian %d to %d, %s: %s is not explained", way[0], way[1], service, d.Name)
				}
			}
		}
	}
}

func TestWords(t *testing.T) {
	long := strings.Repeat("permit_mynetworks, ", 9)
	for _, c := range []struct {
		name string
		d    effective.Difference
		want string
	}{
		{"both", effective.Difference{Name: "a", Theirs: &effective.Value{Text: "1"}, Ours: &effective.Value{Text: "2", Default: true}}, "Web: a is “1” on left and “2” (its default) on right, although"},
		{"theirs", effective.Difference{Name: "a", Theirs: &effective.Value{}}, "Web: a is empty on left, and is not set on right, although"},
		{"ours", effective.Difference{Name: "a", Ours: &effective.Value{Text: "2"}, Guard: true}, "Web: a is “2” on right, and is not set on left, although both have the same configuration, each in the words of its release: after a failover other people"},
		{
			"long",
			effective.Difference{Name: "a", Theirs: &effective.Value{Text: long + "reject" + long}, Ours: &effective.Value{Text: long + "permit" + long}},
			"Web: a is “… permit_mynetworks, rejectpermit_mynetworks, permit_mynetwor…” on left and “… permit_mynetworks, permitpermit_mynetworks, permit_mynetwor…” on right",
		},
	} {
		what, next := c.d.Words("Web", "left", "right")
		if !strings.HasPrefix(what, c.want) || !strings.Contains(next, "on left") {
			t.Errorf("%s: %q %q; want %q…", c.name, what, next, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	got, err := effective.ParseSettings([]byte("b = 1\n\n~a = x = y\nc =\n[s] d e = ü\xff\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(effective.Settings{"a": {Text: "x = y", Default: true}, "b": {Text: "1"}, "c": {}, "[s] d e": {Text: "ü?"}}, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"no value\n", " a = 1\n", "~ = 1\n", "a = 1\n~a = 1\n"} {
		if _, err := effective.ParseSettings([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, bad := range []string{"", "effective 2\nrelease 13\nserver a\nfiles b\n\n", "effective 1\nrelease x\nserver a\nfiles b\n\n", "effective 1\nserver a\nrelease 13\nfiles b\n\n", "effective 1\n\n"} {
		if _, err := effective.ParseRecord([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// FuzzParseRecord: what is read is written and read again the same, and nothing from another server ends this one.
func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("effective 1\nrelease 13\nserver left\nfiles 0a\n\n~a = 1\nb c = x = y\nd =\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := effective.ParseRecord(text)
		if err != nil {
			return
		}
		again, err := effective.ParseRecord(r.Encode())
		if d := cmp.Diff(r, again, cmpopts.EquateEmpty()); d != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, d)
		}
		from, _ := facts.Of(12)
		to, _ := facts.Of(13)
		for _, d := range effective.Compare(effective.Rules{Service: "samba", Guards: []string{"*"}}, effective.Side{Settings: r.Settings, Facts: from, Names: []string{r.Server}},
			effective.Side{Settings: effective.Settings{}, Facts: to}, nil) {
			_, _ = d.Words("x", "left", "right")
		}
	})
}
