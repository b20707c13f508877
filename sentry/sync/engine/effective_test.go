package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/effective"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/state"
)

// effectiveSite is a primary of Debian 12 and a secondary of 13, which print as settings what stands in etc/web, and what their releases assume.
func effectiveSite(t *testing.T, debian map[string]string) (left, right *server) {
	t.Helper()
	versions := func(name string) carry.Versions { return carry.Versions{Image: name + "-1", Debian: debian[name]} }
	return siteOf(t, plan{
		broken: true,
		prepare: func(s *server) {
			for p, text := range map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n", "etc/group": "root:x:0:\nwww-data:x:33:\n", "etc/web/site.conf": "listen = 80\n"} {
				write(t, filepath.Join(s.dir, "image", p), text)
				write(t, s.path(p), text)
			}
		},
		sender:  func(c *carry.SenderConfig) { c.Versions = versions("left") },
		receive: func(c *carry.ReceiverConfig) { c.Versions = versions("right") },
		config: func(s *server, c *Config) {
			c.ImageRoot, c.Versions = filepath.Join(s.dir, "image"), versions(s.name)
			c.Steps = []convert.Step{{ID: "none", Service: "web", Old: 12}}
			c.Facts.Effective = []Effective{{
				Service: "web", Paths: []state.Path{"etc/web"},
				Ask: Command{Args: []string{"/bin/sh", "-c", `set -e; cd "$0/etc/web"; [ ! -e fail ] || { echo "web: fatal: no" >&2; exit 1; }
cat *.conf | if [ "$2" = right ] && [ -e "$0/var/odd" ]; then sed -f "$0/var/odd"; else cat; fi; echo "~release = $1"; echo "server = $2"`, s.root, c.Debian, s.name}, Timeout: 10 * time.Second},
				Rules: effective.Rules{Service: "web", Guards: []string{"allow"}, Own: []string{"own*"}},
			}}
		},
	})
}

func TestEffective(t *testing.T) {
	left, right := effectiveSite(t, map[string]string{"left": "12", "right": "13"})
	recorded := func() string {
		head, ok := right.engine.repo.Head(state.Site)
		if !ok {
			return ""
		}
		entry, ok, err := right.engine.repo.Lookup(head.ID, effectivePath("web"))
		if err != nil || !ok {
			return ""
		}
		text, err := right.engine.content(entry.Data)
		must(t, err)
		return string(text)
	}
	eventually(t, "recorded", func() bool { return strings.Contains(recorded(), "~release = 12") })
	eventually(t, "in step", func() bool { return right.engine.Status().InStep })
	eventually(t, "compared", func() bool { return compared(right) })
	if right.finding(findEffective) {
		t.Errorf("stock: %+v", right.findings.List())
	}
	tell := func(round, text string) {
		t.Helper()
		pause()
		write(t, right.path("var/odd"), text) // no configuration: what this server alone makes of its files
		pause()
		write(t, left.path("etc/web/more.conf"), "allow = none\nown = 3\nmost = 5\nround = "+round+"\n")
	}
	tell("one", "s/none/all/; s/3/4/; s/most = 5/most = 6/")
	eventually(t, "another value", func() bool {
		return right.finding(findEffective+"web/allow") && right.finding(findEffective+"web/most")
	})
	for _, f := range right.findings.List() {
		if want := map[string]string{"web/allow": "critical", "web/most": "warning"}[strings.TrimPrefix(f.ID, findEffective)]; want != f.Severity {
			t.Errorf("%+v", f)
		}
	}
	tell("two", "s/x/x/")
	eventually(t, "findings end", func() bool { return !right.finding(findEffective) })
	pause()
	write(t, left.path("etc/web/fail"), "")
	eventually(t, "who cannot be asked is told", func() bool { return left.finding(notAsked + "web") })
}

func compared(s *server) bool {
	done := make(chan bool, 1)
	_ = s.engine.do(s.t.Context(), func(context.Context) error { done <- s.engine.asked.files["web"] != ""; return nil })
	return <-done
}

// TestEffectiveEqual: servers of one release ask nothing.
func TestEffectiveEqual(t *testing.T) {
	left, right := effectiveSite(t, map[string]string{"left": "13", "right": "13"})
	eventually(t, "in step", func() bool { return right.engine.Status().InStep })
	time.Sleep(2 * settle)
	for _, s := range []*server{left, right} {
		if compared(s) {
			t.Errorf("%s has asked", s.name)
		}
	}
}

func TestEffectiveOf(t *testing.T) {
	p := pack.Pack{Name: "web", Config: []string{"/etc/web", "{{.StateDir}}/web"}, Effective: &pack.Effective{
		Command: []string{"/bin/a", "{{.Service}}"}, User: "www", Timeout: "3s", Exports: []string{"users.sql"}, Service: "apache",
		Ships: []pack.Shipped{{Name: "a", Values: map[string]string{"12": "x"}}},
	}}
	got, err := effectiveOf(p, pack.Vars{Service: "10.7.0.1"})
	must(t, err)
	if got.Ask.Args[1] != "10.7.0.1" || got.Ask.Timeout != 3*time.Second || !slices.Equal(got.Paths, []state.Path{"etc/web", "@db/web/users.sql"}) || got.Ships[0].Values[12] != "x" {
		t.Errorf("%+v", got)
	}
	p.Effective.Command[1] = "{{.Nothing}}"
	if _, err := effectiveOf(p, pack.Vars{}); err == nil {
		t.Error("no error about an unknown variable")
	}
}

// TestStarts: what was converted is tried on a copy before it is live, and refused in the daemon's words; between equal images nothing is.
func TestStarts(t *testing.T) {
	for _, c := range []struct {
		name   string
		debian string // of the primary
		refuse bool
	}{{"converted", "12", true}, {"equal", "", false}} {
		t.Run(c.name, func(t *testing.T) {
			left, right := siteOf(t, plan{
				broken: true, differs: true,
				prepare: func(s *server) {
					for p, text := range map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n", "etc/group": "root:x:0:\nwww-data:x:33:\n", "etc/web/site.conf": "listen 80\n"} {
						write(t, filepath.Join(s.dir, "image", p), text)
						write(t, s.path(p), text)
					}
					if s.name == "right" && c.refuse { // something that the two images ship in other words
						write(t, filepath.Join(s.dir, "image", "etc/web/mime"), "new\n")
						write(t, s.path("etc/web/mime"), "new\n")
					}
				},
				config: func(s *server, cfg *Config) {
					cfg.ImageRoot = filepath.Join(s.dir, "image")
					if s.name == "left" && c.debian != "" {
						cfg.Versions = carry.Versions{Image: "0.9", Debian: c.debian}
					}
					cfg.Facts.Trials = func(services []string) []check.Check {
						if !slices.Contains(services, "web") {
							return nil
						}
						script := fmt.Sprintf(`if grep -rq odd %[1]s/etc/web; then echo "httpd: cannot start with odd" >&2; exit 1; fi; ! grep -rq room %[1]s/etc/web || { echo "no room"; exit 75; }`, s.root)
						return []check.Check{{Service: "web", Title: "Web server", Command: []string{"/bin/sh", "-c", script}, Timeout: 20 * time.Second}}
					}
				},
			})
			eventually(t, "in step", func() bool { return right.engine.Status().InStep })
			pause()
			write(t, left.path("etc/web/more.conf"), "odd\n")
			if !c.refuse {
				eventually(t, "live, untried", func() bool { return right.read("etc/web/more.conf") == "odd\n" })
				return
			}
			eventually(t, "refused", func() bool {
				return slices.ContainsFunc(right.findings.List(), func(f initapiFinding) bool {
					return f.ID == "sync-refused" && strings.Contains(f.What, "httpd: cannot start with odd")
				})
			})
			if right.read("etc/web/more.conf") != "" {
				t.Error("it is live all the same")
			}
			pause()
			write(t, left.path("etc/web/more.conf"), "room\n")
			eventually(t, "one that cannot be tried is no reason", func() bool { return right.read("etc/web/more.conf") == "room\n" })
			if !right.finding(notTried + "web") {
				t.Error("nobody is told that it could not be tried")
			}
			pause()
			write(t, left.path("etc/web/more.conf"), "fine\n")
			eventually(t, "tried", func() bool {
				return right.read("etc/web/more.conf") == "fine\n" && !right.finding(notTried) && !right.finding("sync-refused")
			})
		})
	}
}
