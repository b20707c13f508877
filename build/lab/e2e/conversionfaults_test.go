package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/verify"
)

// TestConversionFaults plants the faults of the table on the primary of a site of two releases, one after the other. Each becomes the right finding
// before any failover; where it has to, the site says that it is not ready; the services of both servers go on; and after `atlas rollback` the
// finding is gone and the servers are in step. Which faults are planted depends on the primary's release.
func TestConversionFaults(t *testing.T) {
	s := use(t, "namespace")
	if !s.mixed {
		t.Skip("needs servers with two releases: ATLAS_OTHER names the other image's folder; make test-faults")
	}
	p := s.pair(t)
	release, err := strconv.Atoi(strings.TrimSpace(p.on(t, p.primary, ". /etc/os-release; echo $VERSION_ID")))
	if err != nil {
		t.Fatal(err)
	}
	faults := slices.DeleteFunc(loadFaults(t), func(f fault) bool { return f.From != release })
	p.probesGoodEverywhere(t)
	var b strings.Builder
	fmt.Fprintf(&b, "Faults planted on a primary with Debian %d, the secondary having the other release:\n\n", release)
	b.WriteString("| service | fault | found | by | where | not ready | after s | gone after s |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	right, planted := 0, 0
	for _, f := range faults {
		o, before := outcome{}, planted
		good := t.Run(f.file+"/"+f.Name, func(t *testing.T) {
			planted++
			o = p.plant(t, f)
		})
		if planted == before {
			continue // not asked for by -run
		}
		if good {
			right++
		}
		on := map[bool]string{true: p.primary, false: p.secondary}[f.Found.On == "primary"]
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", f.file, f.Name, yes(o.found), f.Found.by(), on, yes(o.blocks), seconds(o.after), seconds(o.gone))
	}
	t.Logf("%s\n%d of %d as the table wants", b.String(), right, planted)
	t.Run("in the end every probe is good", func(t *testing.T) { p.probesGoodEverywhere(t) })
}

func yes(b bool) string { return map[bool]string{true: "yes", false: "no"}[b] }

func seconds(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", d.Seconds())
}

type outcome struct {
	found, blocks bool
	after, gone   time.Duration
}

// faultLimit is how long a finding may take: a trial starts daemons one after the other, and an answer about what is in effect waits for quiet.
const faultLimit = 3 * time.Minute

func (p *pair) plant(t *testing.T, f fault) (o outcome) {
	from := p.quiet(t)
	known := map[string]bool{}
	for _, server := range []string{p.primary, p.secondary} {
		for _, n := range p.findings(t, server) {
			known[server+n.ID+n.What] = true
		}
	}
	before, stood := p.standing(t), p.toldOf(t)
	defer func() { // also when it was not found
		began := time.Now()
		p.takeBack(t, f, from)
		p.forgotten(t, f, stood)
		p.inStep(t)
		o.gone = time.Since(began)
		p.stands(t, before)
	}()
	p.on(t, p.primary, f.script())
	began := time.Now()
	line := 0
	if f.Found.Line != "" {
		if line = lineOf(p.on(t, p.primary, "cat "+quoted(f.Found.At)), f.Found.Line); line == 0 {
			t.Fatalf("%s has no line with %q", f.Found.At, f.Found.Line)
		}
	}
	server := p.secondary
	if f.Found.On == "primary" {
		server = p.primary
	}
	var n initapi.Finding
	wait(t, f.Name+" is found on "+server, faultLimit, func() error {
		st, err := p.sync(server)
		if err != nil {
			return err
		}
		why := "there is none"
		for _, n = range st.Findings {
			if known[server+n.ID+n.What] || !strings.HasPrefix(n.ID, f.Found.ID) {
				continue
			}
			if why = f.Found.mistake(n, line); why == "" {
				return nil
			}
			why = n.ID + " (" + n.Severity + "): " + n.What + " → " + n.Next + ": " + why
		}
		return fmt.Errorf("%w: no finding %s with %q: %s; all: %s", errNotYet, f.Found.ID, f.Found.Says, why, names(st.Findings))
	})
	o.found, o.after = true, time.Since(began)
	t.Logf("after %s s: %s (%s): %s → %s", seconds(o.after), n.ID, n.Severity, n.What, n.Next)
	if strings.HasPrefix(n.ID, "sync-convert-") && !strings.HasPrefix(f.Found.At, "/@") && !strings.Contains(n.What, "It came with change ") {
		t.Error("it is not told which change brought it")
	}
	if f.Found.Blocks {
		wait(t, "the site is not ready", time.Minute, func() error {
			st, err := p.judged(p.primary)
			if err != nil {
				return err
			}
			if st.Readiness.Ready || !slices.ContainsFunc(st.Readiness.Reasons, func(r reason) bool {
				return strings.Contains(r.Text, n.What) || strings.Contains(r.Text, "is held back since") || strings.Contains(r.Text, "could not take over a change")
			}) {
				return fmt.Errorf("%w: ready: %v %v", errNotYet, st.Readiness.Ready, st.Readiness.Reasons)
			}
			return nil
		})
		o.blocks = true
	}
	p.stands(t, before.without(p.primary, f.Breaks))
	return o
}

// wait is eventually without an end of the whole run: what was planted has to be taken back.
func wait(t *testing.T, what string, limit time.Duration, f func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %v: %v", what, limit, err)
}

func names(list []initapi.Finding) string {
	var out []string
	for _, n := range list {
		out = append(out, n.ID+" “"+n.What+"”")
	}
	return strings.Join(out, "; ")
}

// takeBack undoes a fault on the primary by the product's own means.
func (p *pair) takeBack(t *testing.T, f fault, from string) {
	t.Helper()
	back := func(how string) {
		script := "atlas rollback " + how + " --yes"
		out, err := p.lab(3*time.Minute, "exec", p.primary, "--", "sh", "-c", script)
		for n := 0; err != nil && strings.Contains(out, "is not ready") && n < 30; n++ { // a service that has just been told of its files
			time.Sleep(time.Second)
			out, err = p.lab(3*time.Minute, "exec", p.primary, "--", "sh", "-c", script)
		}
		if err != nil && !strings.Contains(out, "nothing differs from then") && !strings.Contains(out, "no change is held back") {
			t.Errorf("%s: %v\n%s", script, err, tail(out, 20))
		}
	}
	if f.Found.ID == "sync-held" {
		back("--held")
	}
	back("--all --to " + from) // what went through before
	if f.Undo != "" {
		p.on(t, p.primary, f.Undo)
	}
}

// toldOf are the names of what the Synchronizers of both servers tell: "left sync-held-left".
func (p *pair) toldOf(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, server := range []string{p.primary, p.secondary} {
		st, err := p.sync(server)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range st.Findings {
			out[server+" "+n.ID] = true
		}
	}
	return out
}

// forgotten waits until the finding is gone, and all else that came with the fault and tells how things stand.
func (p *pair) forgotten(t *testing.T, f fault, stood map[string]bool) {
	t.Helper()
	wait(t, "the finding is gone, and what came with it", faultLimit, func() error {
		for _, server := range []string{p.primary, p.secondary} {
			st, err := p.sync(server)
			if err != nil {
				return err
			}
			for _, n := range st.Findings {
				if strings.HasPrefix(n.ID, f.Found.ID) || !n.News && !stood[server+" "+n.ID] {
					return fmt.Errorf("%w: on %s %s: %s", errNotYet, server, n.ID, n.What)
				}
			}
		}
		return nil
	})
}

// standing is what works on both servers.
type standing struct {
	services map[string]bool // ready, with all processes: "left apache"
	probes   map[string]bool // good: by observer, target, service and probe
}

func (p *pair) standing(t *testing.T) standing {
	t.Helper()
	var out standing
	wait(t, "what works is known", time.Minute, func() error {
		var err error
		out, err = p.look()
		return err
	})
	return out
}

// without is what has to work while a service of a server cannot.
func (s standing) without(server, service string) standing {
	out := standing{services: maps.Clone(s.services), probes: maps.Clone(s.probes)}
	if service != "" {
		delete(out.services, server+" "+service)
		maps.DeleteFunc(out.probes, func(k string, _ bool) bool { f := strings.Fields(k); return f[1] == server && f[2] == service })
	}
	return out
}

func (p *pair) look() (standing, error) {
	out := standing{map[string]bool{}, map[string]bool{}}
	for _, server := range []string{p.primary, p.secondary} {
		list, err := p.tryServices(server)
		if err != nil {
			return out, err
		}
		for _, v := range list {
			out.services[server+" "+v.Name] = v.State == "ready" && !slices.ContainsFunc(v.Processes, func(q processInfo) bool { return q.State != "ready" })
		}
	}
	st, err := p.judged(p.primary)
	if err != nil {
		return out, err
	}
	for _, v := range st.Servers {
		for _, r := range v.Probes {
			out.probes[strings.Join([]string{r.Observer, r.Target, r.Service, r.Probe}, " ")] = slices.Contains([]verify.Status{verify.Pass, verify.Warn, verify.NotApplicable}, r.Status)
		}
	}
	return out, nil
}

// stands waits until all works that worked before: a service may just be reading its files, and a probe be on its way.
func (p *pair) stands(t *testing.T, before standing) {
	t.Helper()
	wait(t, "all services work as before", 2*time.Minute, func() error {
		now, err := p.look()
		if err != nil {
			return err
		}
		var bad []string
		for k, good := range before.services {
			if good && !now.services[k] {
				bad = append(bad, k)
			}
		}
		for k, good := range before.probes {
			if good && !now.probes[k] {
				bad = append(bad, k)
			}
		}
		if len(bad) > 0 {
			slices.Sort(bad)
			return fmt.Errorf("%w: worked before: %s", errNotYet, strings.Join(bad, ", "))
		}
		return nil
	})
}

// probesGoodEverywhere waits until each server has proven each service of both.
func (p *pair) probesGoodEverywhere(t *testing.T) {
	t.Helper()
	eventually(t, "every probe is good", 4*time.Minute, func() error {
		now, err := p.look()
		if err != nil {
			return err
		}
		for _, list := range []map[string]bool{now.services, now.probes} {
			for k, good := range list {
				if !good {
					return fmt.Errorf("%w: %s", errNotYet, k)
				}
			}
		}
		if len(now.probes) == 0 {
			return errNotYet
		}
		return nil
	})
}
