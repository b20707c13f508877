package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// service is one of `atlas service list --json`.
type service struct {
	Name      string        `json:"name"`
	State     string        `json:"state"`
	Error     string        `json:"error"`
	Processes []processInfo `json:"processes"`
}

type processInfo struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	State string `json:"state"`
}

func (s *site) services(t *testing.T, server string) []service {
	t.Helper()
	list, err := s.tryServices(server)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (s *site) tryServices(server string) ([]service, error) {
	out, err := s.lab(time.Minute, "exec", server, "--", "atlas", "service", "list", "--json")
	if err != nil {
		return nil, fmt.Errorf("services of %s: %w\n%s", server, err, tail(out, 10))
	}
	var list []service
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("services of %s: %w\n%s", server, err, tail(out, 10))
	}
	// Those that are off may be listed too.
	return slices.DeleteFunc(list, func(v service) bool { return v.State == "off" }), nil
}

func find(list []service, name string) service {
	for _, v := range list {
		if v.Name == name {
			return v
		}
	}
	return service{}
}

func (v service) process(name string) processInfo {
	for _, p := range v.Processes {
		if p.Name == name {
			return p
		}
	}
	return processInfo{}
}

// restoreServices switches off what the site was not started with.
func (s *site) restoreServices(t *testing.T) {
	if slices.Contains(s.started, "all") {
		return
	}
	primary, secondary := "left", "right"
	if s.server(t, "left").Role == "secondary" {
		primary, secondary = secondary, primary
	}
	keep := append([]string{"ssh", "sentry", "certificate"}, s.started...)
	for _, v := range s.services(t, primary) {
		if slices.Contains(keep, v.Name) {
			continue
		}
		if out, err := s.lab(2*time.Minute, "exec", primary, "--", "atlas", "service", "disable", v.Name); err != nil {
			t.Logf("%s: disable %s: %v %s", primary, v.Name, err, tail(out, 3)) // needed by one that stays
		}
	}
	s.runsTheSame(t, primary, secondary)
}

// lives lists the processes in the control group of pid, as "PID START", so that they are known again among others with their number.
const lives = `cg=$(grep ^0:: /proc/%d/cgroup) || exit 1
for p in /proc/[0-9]*; do
	[ "$(grep ^0:: $p/cgroup 2>/dev/null)" = "$cg" ] || continue
	echo "${p#/proc/} $(sed 's/.*) //' $p/stat 2>/dev/null | cut -d' ' -f20)"
done
echo "group $cg"`

// alive prints those of the given lives that are still there and no zombies.
const alive = `while read -r pid start; do
	stat=$(sed 's/.*) //' /proc/$pid/stat 2>/dev/null) || continue
	set -- $stat
	[ "${20}" = "$start" ] && [ "$1" != Z ] && echo "$pid $(tr '\0' ' ' </proc/$pid/cmdline)"
done
true`

// TestKill kills the main process of every daemon in turn. Each is back and ready within its limit, and nothing of its former life is left.
func TestKill(t *testing.T) {
	s := use(t, "namespace", "vm")
	s.serving(t, "left", "right")
	limit := 90 * time.Second // the longest readiness limit of a pack is for emulated machines
	if s.kind == "vm" {
		limit = 4 * time.Minute
	}
	for _, v := range s.services(t, "left") {
		for _, p := range v.Processes {
			if p.PID == 0 { // a oneshot
				continue
			}
			t.Run(v.Name+" "+p.Name, func(t *testing.T) { s.kill(t, "left", v.Name, p.Name, limit) })
		}
	}
	t.Run("every probe is good", func(t *testing.T) { s.healthy(t, "left", "right") })
}

func (s *site) kill(t *testing.T, server, name, process string, limit time.Duration) {
	t.Helper()
	// One that was killed before may take this one along a moment later: rpcbind forgets who registered.
	p := find(s.services(t, server), name).process(process)
	for began := time.Now(); ; {
		if len(find(s.services(t, server), name).Processes) > 1 {
			time.Sleep(2 * time.Second)
		}
		now := find(s.services(t, server), name).process(process)
		if now.PID != 0 && now.PID == p.PID && now.State == "ready" {
			break
		}
		if time.Since(began) > limit {
			t.Fatalf("%s of %s is %q with process %d before it is killed", process, name, now.State, now.PID)
		}
		p = now
	}
	before := s.exec(t, server, "sh", "-c", fmt.Sprintf(lives, p.PID))
	old, group, _ := strings.Cut(before, "group ")
	if strings.TrimSpace(group) == "0::/" || !strings.Contains(old, strconv.Itoa(p.PID)+" ") {
		t.Fatalf("%s of %s has no control group of its own: %s", process, name, before)
	}
	began := time.Now()
	// In a moment, since with sshd the login may end too.
	s.exec(t, server, "sh", "-c", fmt.Sprintf("setsid sh -c 'sleep 0.2; kill -9 %d' >/dev/null 2>&1 </dev/null &", p.PID))
	for {
		list, err := s.tryServices(server)
		now := find(list, name).process(process)
		if err == nil && find(list, name).State == "ready" && now.State == "ready" && now.PID != p.PID && now.PID != 0 {
			break
		}
		if time.Since(began) > limit {
			t.Fatalf("%s of %s is not back within %v: %+v %v", process, name, limit, find(list, name), err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	took := time.Since(began)
	left := s.exec(t, server, "sh", "-c", "printf %s '"+strings.TrimSpace(old)+"\n' | { "+alive+"; }")
	if strings.TrimSpace(left) != "" {
		t.Errorf("of the former life of %s (%s) there is still:\n%s", process, name, left)
	}
	t.Logf("back and ready after %.1f s; %d processes of its former life are gone", took.Seconds(), strings.Count(old, "\n"))
}

// TestBrokenConfiguration breaks the configuration of one daemon. The page tells it in the daemon's own words, everything that does not
// need it goes on, and once it is mended the finding is gone.
func TestBrokenConfiguration(t *testing.T) {
	s := use(t, "namespace", "vm")
	s.serving(t, "left", "right")
	runs := s.services(t, "left")
	for _, c := range []struct{ pack, spoil, mend, says string }{
		{"apache", "echo 'Nonsense on' >/etc/apache2/conf-enabled/zz-nonsense.conf", "rm /etc/apache2/conf-enabled/zz-nonsense.conf", "Nonsense"},
		{"mariadb", "printf '[mariadbd]\nnonsense = 1\n' >/etc/mysql/mariadb.conf.d/99-nonsense.cnf", "rm /etc/mysql/mariadb.conf.d/99-nonsense.cnf", "nonsense"},
		{"postgresql", "f=$(ls -d /etc/postgresql/*/main/conf.d); echo 'nonsense_memory = 4' >$f/zz-nonsense.conf", "rm /etc/postgresql/*/main/conf.d/zz-nonsense.conf", "nonsense_memory"},
	} {
		if find(runs, c.pack).Name == "" {
			continue
		}
		t.Run(c.pack, func(t *testing.T) {
			s.exec(t, "left", "sh", "-c", c.spoil)
			t.Cleanup(func() { _, _ = s.lab(time.Minute, "exec", "left", "--", "sh", "-c", c.mend) })
			_, _ = s.lab(3*time.Minute, "exec", "left", "--", "atlas", "service", "restart", c.pack) // it may wait and tell
			eventually(t, "the page tells what the daemon said", 4*time.Minute, func() error { return s.finding(t, "10.7.0.11", "left", c.says) })
			// What merely uses it starts without it, as it would when the server boots with this mistake.
			for user := range strings.FieldsSeq(s.exec(t, "left", "sh", "-c", "cd /usr/lib/atlas/packs && grep -l '^uses:.*"+c.pack+"' */pack.yaml | xargs -r dirname")) {
				s.exec(t, "left", "atlas", "service", "restart", user)
				eventually(t, user+" runs without "+c.pack, 2*time.Minute, func() error {
					if v := find(s.services(t, "left"), user); v.State != "ready" {
						return fmt.Errorf("%w: %+v", errNotYet, v)
					}
					return nil
				})
			}
			needy := s.exec(t, "left", "sh", "-c", "grep -l '^needs:.*"+c.pack+"' /usr/lib/atlas/packs/*/pack.yaml || true")
			for _, v := range s.services(t, "left") {
				if v.Name != c.pack && !strings.Contains(needy, "/"+v.Name+"/") && v.State != "ready" {
					t.Errorf("%s does not need %s and is %s: %s", v.Name, c.pack, v.State, v.Error)
				}
			}
			s.exec(t, "left", "sh", "-c", c.mend+" && atlas service restart "+c.pack)
			eventually(t, c.pack+" runs again and the finding is gone", 4*time.Minute, func() error {
				if v := find(s.services(t, "left"), c.pack); v.State != "ready" {
					return fmt.Errorf("%w: %+v", errNotYet, v)
				}
				if err := s.finding(t, "10.7.0.11", "left", c.says); err == nil {
					return fmt.Errorf("%w: the finding is still there", errNotYet)
				}
				return nil
			})
		})
	}
	t.Run("every probe is good", func(t *testing.T) { s.healthy(t, "left", "right") })
}

// finding is an error unless a server's page has a finding about it with the given words.
func (s *site) finding(t *testing.T, address, server, words string) error {
	t.Helper()
	var page struct {
		Findings []map[string]any `json:"findings"`
		Servers  []struct {
			Name  string `json:"name"`
			State struct {
				Findings []map[string]any `json:"findings"`
			} `json:"state"`
		} `json:"servers"`
	}
	if err := s.api(t, address, &page); err != nil {
		return err
	}
	all := page.Findings
	for _, sv := range page.Servers {
		if sv.Name == server {
			all = append(all, sv.State.Findings...)
		}
	}
	for _, f := range all {
		if strings.Contains(fmt.Sprint(f), words) {
			t.Logf("the page says: %v; %v", f["what"], f["next"])
			return nil
		}
	}
	return fmt.Errorf("%w: no finding with %q among %v", errNotYet, words, all)
}
