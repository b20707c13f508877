package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	judgedsite "sayasystems.com/atlas/sentry/site"
)

// score is what became of one drill.
type score struct {
	drill
	found      bool
	by         string        // the reason that was first when it was found
	after      time.Duration // from the planting until a server told the first reason that is no alarm
	told       time.Duration // until all that have to told the right one first
	firstWrong string        // what stood first before the right one did, and is not part of it
	alarms     []string
	back       time.Duration
	failover   string // what a swap came to that was done all the same
}

// TestDrill plants the faults of the table, one after the other, and prints what the site says of each, how soon, and what else it says. A sample by
// ATLAS_SEED is what CI runs; all of them with ATLAS_LONG; ATLAS_DRILL names some by a part of their name or class.
func TestDrill(t *testing.T) {
	p := use(t, "namespace").pair(t)
	all := loadDrills(t)
	switch want := os.Getenv("ATLAS_DRILL"); {
	case want != "":
		all = slices.DeleteFunc(all, func(d drill) bool {
			return !slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { return w == d.Class || w == d.file || strings.Contains(d.Name, w) })
		})
	case os.Getenv("ATLAS_LONG") == "":
		seed, _ := strconv.ParseUint(cmpOr(os.Getenv("ATLAS_SEED"), "1"), 10, 64)
		all = slices.DeleteFunc(all, func(d drill) bool { return d.within() > time.Minute })
		rand.New(rand.NewPCG(seed, seed)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:4]
	}
	swaps, err := strconv.Atoi(cmpOr(os.Getenv("ATLAS_DRILL_SWAPS"), "0"))
	if err != nil {
		t.Fatalf("ATLAS_DRILL_SWAPS: %v", err)
	}
	var scores []score
	for i, d := range all {
		t.Run(strings.ReplaceAll(d.Name, " ", "_"), func(t *testing.T) {
			swap := swaps > 0 && d.Lasts
			if swap {
				swaps--
			}
			s := p.drill(t, d, swap)
			scores = append(scores, s)
			t.Logf("%d of %d: %s: %s after %.1f s, first of all after %.1f s; back after %.1f s", i+1, len(all), d.Name, cmpOr(s.by, "not found"), s.after.Seconds(), s.told.Seconds(), s.back.Seconds())
		})
	}
	board := scoreboard(scores)
	t.Log("\n" + board)
	if dir := os.Getenv("ATLAS_SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "drill.md"), []byte(board), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// told asks a server what it says of the site.
func (p *pair) told(server string) (judgedsite.Site, error) {
	var s judgedsite.Site
	out, err := p.lab(20*time.Second, "exec", server, "--", "curl", "-sSf", "-m", "10", "--unix-socket", "/run/atlas/sentry.sock", "http://sentry/v1/status")
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	if err != nil {
		return s, fmt.Errorf("the site as %s sees it: %w\n%s", server, err, tail(out, 5))
	}
	return s, nil
}

// readyBoth waits until both servers say that a swap would work, and gives the findings that there are all the same. What was changed by the drills
// before is rehearsed now and then: by itself that would come in the middle of one.
func (p *pair) readyBoth(t *testing.T) map[string]bool {
	t.Helper()
	known, rehearsed := map[string]bool{}, p.rehearsed
	defer func() { p.rehearsed = rehearsed }()
	for _, server := range []string{p.primary, p.secondary} {
		wait(t, server+" says that a swap would work", 6*time.Minute, func() error {
			s, err := p.told(server)
			if err != nil {
				return err
			}
			if len(s.Readiness.Open) > 0 && time.Since(rehearsed) > 20*time.Minute || slices.ContainsFunc(s.Readiness.Reasons, func(r judgedsite.Reason) bool { return strings.HasPrefix(r.ID, "cold-start-") }) {
				rehearsed = time.Now()
				if e := p.rehearse(t, "--all"); !e.Good {
					t.Logf("rehearsal: %+v", e)
				}
				return errNotYet
			}
			if !s.Readiness.Ready {
				return fmt.Errorf("%w: %+v", errNotYet, s.Readiness.Reasons)
			}
			for _, f := range s.Findings {
				known[f.ID] = true
			}
			return nil
		})
	}
	return known
}

// script runs words of a drill on a server.
func (p *pair) script(t *testing.T, d drill, server, script string) {
	t.Helper()
	if script == "" {
		return
	}
	if out, err := p.lab(5*time.Minute, "exec", server, "--", "sh", "-c", drillWords+"set -e\n"+d.with(script, p.primary, p.secondary)); err != nil {
		t.Errorf("on %s: %s: %v\n%s", server, script, err, tail(out, 10))
	}
}

func (p *pair) labWords(t *testing.T, d drill, words []string) {
	t.Helper()
	if len(words) == 0 {
		return
	}
	args := make([]string, len(words))
	for i, w := range words {
		args[i] = d.with(w, p.primary, p.secondary)
	}
	p.must(t, time.Minute, args...)
}

func (p *pair) drill(t *testing.T, d drill, swap bool) (s score) {
	s.drill = d
	known := p.readyBoth(t)
	on := map[string]string{"twin": p.secondary, "primary": p.primary}
	judges := []string{p.primary, p.secondary}
	if d.Judge != "" {
		judges = []string{on[d.Judge]}
	}
	defer func() {
		began := time.Now()
		if d.Undo != "" {
			p.script(t, d, on[d.On], d.Undo)
		}
		p.labWords(t, d, d.LabUndo)
		p.script(t, d, p.secondary, d.UndoTwin)
		if len(d.Lab) > 0 && d.Lab[0] == "power" {
			p.serving(t, p.primary, p.secondary)
		}
		p.readyBoth(t)
		s.back = time.Since(began)
	}()
	began := time.Now()
	p.script(t, d, on[d.On], d.Run)
	p.labWords(t, d, d.Lab)
	p.script(t, d, p.secondary, d.ThenTwin)
	right := map[string]bool{}
	alarms, verdicts := map[string]bool{}, map[string]bool{}
	words, last := map[string]string{}, map[string]string{}
	var settledAt time.Time
	for time.Since(began) < d.within()+15*time.Second {
		for _, server := range judges {
			site, err := p.told(server)
			if err != nil {
				continue
			}
			told, ok := d.read(site, known, began.Truncate(time.Second), p.primary, p.secondary)
			if s.found { // what is said before all can know of it counts as time
				verdicts[told.verdict] = true
			}
			last[server] = told.verdict
			words[server] = fmt.Sprintf("%s: %s: %s", server, told.verdict, told.words)
			if (len(site.Readiness.Reasons) > 0 || ok) && s.after == 0 {
				s.after = time.Since(began)
			}
			if !ok && !right[server] && s.firstWrong == "" && slices.ContainsFunc(told.alarms, func(a string) bool { return strings.HasPrefix(a, told.first+": ") }) {
				s.firstWrong = told.first
			}
			for _, a := range told.alarms {
				alarms[a] = true
			}
			right[server] = right[server] || ok
			if ok && s.by == "" {
				s.by = told.first
			}
		}
		if s.told == 0 && len(right) == len(judges) && !slices.Contains(slices.Collect(maps.Values(right)), false) {
			s.found, s.told, settledAt = true, time.Since(began), time.Now()
		}
		if s.found && time.Since(settledAt) > 6*time.Second { // what comes after it
			break
		}
		time.Sleep(150 * time.Millisecond)
	}
	s.alarms = slices.Sorted(maps.Keys(alarms))
	for _, w := range slices.Sorted(maps.Values(words)) {
		t.Log(w)
	}
	switch {
	case !s.found:
		t.Errorf("not found as %s, that says %q, verdict %s", d.with(d.First, p.primary, p.secondary), d.Says, cmpOr(d.Verdict, "no"))
	case s.told > d.within():
		t.Errorf("told after %.1f s; want %v", s.told.Seconds(), d.within())
	}
	for _, a := range s.alarms {
		t.Errorf("false alarm: %s", a)
	}
	if !s.found {
		for _, v := range last {
			verdicts[v] = true
		}
	}
	if swap {
		s.failover = p.failover(t)
		on["primary"], on["twin"] = p.primary, p.secondary
		if s.failover == broken && verdicts["yes"] {
			t.Error("a server said yes, and the failover did not bring up everything")
		}
	}
	return s
}

// What a failover came to.
const (
	broken = "broken"
	worked = "all good"
)

// failover swaps the sets all the same, and looks whether all services of the new primary come up and work. The servers have changed their roles
// then.
func (p *pair) failover(t *testing.T) string {
	t.Helper()
	p.off(t, p.secondary, p.primary)
	p.must(t, time.Minute, "swap", "left", "right")
	p.site.on(t, "left", "right")
	p.primary, p.secondary = p.secondary, p.primary
	p.wait(t, p.primary, "primary")
	p.wait(t, p.secondary, "secondary")
	why := ""
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Second) {
		now, err := p.look()
		if err != nil {
			why = err.Error()
			continue
		}
		why = ""
		for _, list := range []map[string]bool{now.services, now.probes} {
			for k, good := range list {
				if !good && (strings.HasPrefix(k, p.primary+" ") || strings.Contains(k, " "+p.primary+" ")) {
					why = k
				}
			}
		}
		if why == "" && len(now.probes) > 0 {
			return worked
		}
	}
	t.Logf("after the swap: %s", why)
	return broken
}

// scoreboard is the table of the drills, and what they come to.
func scoreboard(scores []score) string {
	var b strings.Builder
	b.WriteString("| fault | kind | on | found | first reason | s | alarms beside it | ready again after s | swapped all the same |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	found, first, quick, false0 := 0, 0, 0, 0
	var dead []time.Duration
	rest := 0
	for _, s := range scores {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %d | %s | %s |\n", s.Name, s.Class, s.On, yes(s.found), cmpOr(s.by, "–"), seconds(s.told), len(s.alarms), seconds(s.back), s.failover)
		if s.found {
			found++
		}
		if s.found && s.firstWrong == "" {
			first++
		}
		false0 += len(s.alarms)
		if s.Class == "dead" {
			dead = append(dead, s.told)
		}
		if s.Class != "rehearsal" {
			rest++
			if s.found && s.told <= time.Minute {
				quick++
			}
		}
	}
	n := len(scores)
	fmt.Fprintf(&b, "\n%d of %d found; the right reason first in %d; within a minute %d of %d; %d alarms beside them.", found, n, first, quick, rest, false0)
	if len(dead) > 0 {
		slices.Sort(dead)
		fmt.Fprintf(&b, " Services that stopped: told after %.1f s (median), %.1f s at most.", dead[len(dead)/2].Seconds(), dead[len(dead)-1].Seconds())
	}
	return b.String() + "\n"
}
