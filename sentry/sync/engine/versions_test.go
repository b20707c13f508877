package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestVersions: the primary runs Debian 12, the secondary 13. What people changed is converted, the rest is each image's own.
func TestVersions(t *testing.T) {
	steps := []convert.Step{{ID: "listen", Old: 12, Class: convert.Renamed, Forward: func(w *convert.Work) error {
		for _, p := range w.Changed("etc/web/*", "@db/web/roles") {
			w.Write(p, bytes.ReplaceAll(bytes.ReplaceAll(w.Text(p), []byte("listen"), []byte("bind")), []byte("odd"), []byte("broken")))
			if bytes.Contains(w.Text(p), []byte("legacy")) {
				w.Tell(convert.Finding{Class: convert.Blocking, Path: p, Line: 2, What: "legacy is not known there.", Next: "Take it out."})
			}
		}
		return nil
	}}}
	images := map[string]map[string]string{
		"left":  {"etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/group": "root:x:0:\n", "etc/motd": "Debian 12\n", "etc/web/site.conf": "listen 1\n", "etc/web/mime": "old\n", "etc/only12": "x\n"},
		"right": {"etc/passwd": "root:x:0:0::/root:/bin/sh\n_new:x:9:9::/:/bin/false\n", "etc/group": "root:x:0:\n", "etc/motd": "Debian 13\n", "etc/web/site.conf": "bind 1\n", "etc/web/mime": "new\n", "etc/only13": "y\n"},
	}
	left, right := siteOf(t, plan{
		broken: true,
		prepare: func(s *server) {
			for p, text := range images[s.name] {
				write(t, filepath.Join(s.dir, "image", p), text)
				if p != "etc/passwd" && p != "etc/group" && p != "etc/web/site.conf" {
					write(t, s.path(p), text)
				}
			}
		},
		config: func(s *server, c *Config) {
			database(goodDump, goodLoad)(s, c)
			c.ImageRoot, c.Steps = filepath.Join(s.dir, "image"), steps
			c.Versions = carry.Versions{Image: s.name + "-1", Debian: map[string]string{"left": "12", "right": "13"}[s.name]}
		},
	})
	for p, want := range map[string]string{
		"etc/web/site.conf": "bind 80\n", "etc/motd": "Debian 13\n", "etc/web/mime": "new\n", "etc/only13": "y\n", "etc/hosts": "127.0.0.1 localhost\n",
	} {
		eventually(t, p, func() bool { return right.read(p) == want })
	}
	eventually(t, "in step", func() bool { return right.engine.Status().InStep })
	if got := right.read("etc/passwd"); !strings.Contains(got, "www-data") || !strings.Contains(got, "_new") {
		t.Errorf("accounts: %s", got)
	}
	if _, err := os.Stat(right.path("etc/only12")); err == nil {
		t.Error("a file of the other image alone is here")
	}
	write(t, left.path("etc/web/more.conf"), "listen 81\nlegacy\n")
	eventually(t, "converted", func() bool { return right.read("etc/web/more.conf") == "bind 81\nlegacy\n" })
	eventually(t, "finding", func() bool { return right.finding("sync-convert-listen-etc-web-more.conf-2") })
	for _, f := range right.findings.List() {
		if f.ID == "sync-convert-listen-etc-web-more.conf-2" && !strings.Contains(f.What, " It came with change ") {
			t.Errorf("no commit is named: %s", f.What)
		}
	}
	write(t, left.path("db/roles"), "listen everywhere\n")
	eventually(t, "export converted", func() bool { return right.read("db/roles") == "bind everywhere\n" })
	pause()
	if got := right.read("db/roles"); got != "bind everywhere\n" {
		t.Errorf("the database of the secondary has become %q", got)
	}
	must(t, os.Remove(left.path("etc/web/more.conf")))
	must(t, os.Remove(left.path("etc/motd")))
	eventually(t, "removed", func() bool { return right.read("etc/web/more.conf") == "" && right.read("etc/motd") == "" })
	eventually(t, "finding ends", func() bool { return !right.finding("sync-convert-") })
	write(t, left.path("etc/web/odd.conf"), "listen 82\nodd\n") // which the checker of the secondary alone does not take
	eventually(t, "refused", func() bool { return right.finding("sync-refused") })
	for _, f := range right.findings.List() {
		if f.ID == "sync-refused" && !strings.Contains(f.What, " On the primary that is in /etc/web/odd.conf. It came with change ") {
			t.Errorf("it is not told where that is on the primary: %s", f.What)
		}
	}
	must(t, os.Remove(left.path("etc/web/odd.conf")))
	eventually(t, "taken again", func() bool { return !right.finding("sync-refused") })
	pause()
	write(t, right.path("etc/web/mime"), "changed here\n")
	eventually(t, "put back as this image has it", func() bool { return right.read("etc/web/mime") == "new\n" })
}

// TestWordsBack: the primary's files were converted from Debian 12 when its set came to an image of 13; the twin, which runs 12, gets the words
// from before, with what was changed since, and no more than a finding if the record is damaged.
func TestWordsBack(t *testing.T) {
	steps := []convert.Step{{ID: "colour", Old: 12, Class: convert.Approximated, Forward: func(w *convert.Work) error {
		for _, p := range w.Changed("etc/web/*") { // what it does not know is lost
			w.Write(p, bytes.ReplaceAll(bytes.ReplaceAll(w.Text(p), []byte("legacy 1\n"), nil), []byte("listen"), []byte("bind")))
		}
		return nil
	}, Back: func(w *convert.Work) error {
		for _, p := range w.Changed("etc/web/*") {
			w.Write(p, bytes.ReplaceAll(w.Text(p), []byte("bind"), []byte("listen")))
		}
		return nil
	}}}
	file := func(text string) convert.File {
		return convert.File{Data: []byte(text), Entry: state.Entry{Kind: state.File, Mode: 0o644, Owner: "root", Group: "root", Size: int64(len(text)), Data: state.Blob([]byte(text))}}
	}
	tree := func(text string) *convert.Tree {
		return convert.NewTree(map[state.Path]convert.File{"etc/web/site.conf": file(text)})
	}
	before := "# old words\nlegacy 1\nlisten 80\nlisten 81\n"
	there, err := convert.Convert(steps, 12, 13, tree(before))
	must(t, err)
	if got := string(there.Tree.Text("etc/web/site.conf")); got != "# old words\nbind 80\nbind 81\n" {
		t.Fatalf("converted: %q", got)
	}
	text, err := convert.Keep(12, 13, tree(before), there.Tree).Encode()
	must(t, err)
	stock := map[string]string{"left": "bind 1\n", "right": "listen 1\n"}
	kept := ""
	left, right := siteOf(t, plan{
		broken: true,
		prepare: func(s *server) {
			for p, text := range map[string]string{
				"etc/passwd": "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n", "etc/group": "root:x:0:\nwww-data:x:33:\n",
				"etc/hosts": "127.0.0.1 localhost\n", "etc/web/site.conf": stock[s.name],
			} {
				write(t, filepath.Join(s.dir, "image", p), text)
				write(t, s.path(p), text)
			}
			if s.name == "left" {
				kept = filepath.Join(s.dir, "13.kept")
				write(t, kept, string(text))
				write(t, s.path("etc/web/site.conf"), string(there.Tree.Text("etc/web/site.conf")))
			}
		},
		config: func(s *server, c *Config) {
			c.ImageRoot, c.Steps = filepath.Join(s.dir, "image"), steps
			c.Versions = carry.Versions{Image: "1.0", Debian: map[string]string{"left": "13", "right": "12"}[s.name]} // one product, on two releases
			if s.name == "left" {
				c.Kept = kept
			}
		},
	})
	eventually(t, "the words from before", func() bool { return right.read("etc/web/site.conf") == before })
	eventually(t, "in step", func() bool { return right.engine.Status().InStep })
	write(t, left.path("etc/web/site.conf"), "# old words\nbind 80\nbind 82\n")
	eventually(t, "and what was changed since", func() bool { return right.read("etc/web/site.conf") == "# old words\nlegacy 1\nlisten 80\nlisten 82\n" })
	if right.finding("sync-") {
		t.Errorf("told: %+v", right.findings.List())
	}

	t.Log("damaged")
	_, _, err = left.engine.repo.Record(state.Site, noFile(keptPath, text[:len(text)-9]), history.Meta{Title: "damaged", Image: left.engine.image})
	must(t, err)
	left.engine.nudge()
	eventually(t, "finding", func() bool { return right.finding(findKept) })
	eventually(t, "converted as it is", func() bool { return right.read("etc/web/site.conf") == "# old words\nlisten 80\nlisten 82\n" })

	t.Log("there is none any more")
	left.stop()
	must(t, os.Remove(kept))
	left.start()
	eventually(t, "finding ends", func() bool { return !right.finding(findKept) })
	head, _ := left.engine.repo.Head(state.Site)
	if _, ok, err := left.engine.repo.Lookup(head.ID, keptPath); ok || err != nil {
		t.Errorf("the record is still in the history: %v", err)
	}
}

// TestAnotherImage: what differs since the set ran last is nobody's doing when another image has started it, and somebody's otherwise.
func TestAnotherImage(t *testing.T) {
	t.Parallel()
	for _, image := range []string{"1.0", "2.0"} {
		t.Run(image, func(t *testing.T) {
			t.Parallel()
			versions := versions13
			left, right := siteOf(t, plan{broken: true, config: func(s *server, c *Config) {
				if s.name == "right" {
					c.Versions = versions
				}
			}})
			eventually(t, "first state", func() bool { return right.engine.Status().InStep })
			right.stop()
			write(t, right.path("etc/hosts"), "other\n")
			versions.Image = image
			right.start()
			recorded := func() bool {
				list, err := right.engine.Events(state.Query{Local: true, Limit: 1})
				must(t, err)
				return len(list) == 1 && len(list[0].Files) > 0 && list[0].Files[0].Path == "etc/hosts"
			}
			eventually(t, "recorded", func() bool { return recorded() || right.finding("sync-local-change") })
			pause()
			if got, want := right.finding("sync-local-change"), image == "1.0"; got != want {
				t.Errorf("told as a change by somebody: %v; want %v", got, want)
			}
			_ = left
		})
	}
}

// TestImageRecords: what a primary records about its image is in the history and not in the list of changes.
func TestImageRecords(t *testing.T) {
	t.Parallel()
	left, _ := siteOf(t, plan{config: func(s *server, c *Config) {
		c.ImageRoot = filepath.Join(s.dir, "image")
		write(t, filepath.Join(c.ImageRoot, "etc/hosts"), "127.0.0.1 localhost\n")
	}})
	write(t, left.path("etc/hosts"), "changed\n")
	eventually(t, "recorded", func() bool {
		list, err := left.engine.Events(state.Query{Limit: 10})
		must(t, err)
		return len(list) > 0 && list[0].Files[0].Path == "etc/hosts"
	})
	all, err := left.engine.Events(state.Query{Path: stockPath, Limit: 10})
	must(t, err)
	list, err := left.engine.Events(state.Query{Limit: 10})
	must(t, err)
	if len(all) == 0 || slices.ContainsFunc(list, func(e state.Event) bool { return e.ID == all[0].ID }) {
		t.Errorf("%d commits about the image; the list has %+v", len(all), list)
	}
}

// TestLineOf: the forms in which checkers name a line.
func TestLineOf(t *testing.T) {
	for output, want := range map[string]int{
		"AH00526: Syntax error on line 3 of /etc/web/a.conf:\nInvalid command": 3,
		"/etc/web/a.conf:12:2: unknown key":                                    12,
		"error in /etc/web/a.conf line 7: Unknown setting":                     7,
		`syntax error in file "/etc/web/a.conf", line 9`:                       9,
		"/etc/web/a.conf.bak:4: x":                                             0,
		"something else":                                                       0,
	} {
		if got := lineOf(output, "etc/web/a.conf"); got != want {
			t.Errorf("lineOf(%q) = %d; want %d", output, got, want)
		}
	}
}
