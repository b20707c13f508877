package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/carry"
)

// TestVersions: the primary runs Debian 12, the secondary 13. What people changed is converted, the rest is each image's own.
func TestVersions(t *testing.T) {
	steps := []convert.Step{{ID: "listen", Old: 12, Class: convert.Renamed, Forward: func(w *convert.Work) error {
		for _, p := range w.Changed("etc/web/*", "@db/web/roles") {
			w.Write(p, bytes.ReplaceAll(w.Text(p), []byte("listen"), []byte("bind")))
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
	pause()
	write(t, right.path("etc/web/mime"), "changed here\n")
	eventually(t, "put back as this image has it", func() bool { return right.read("etc/web/mime") == "new\n" })
}
