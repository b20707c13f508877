package habits

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// status prints what systemctl status does, in its form: scripts look for "Active:" and "Main PID:".
func status(ctx context.Context, h *Host, a systemctlArgs, u units) int {
	if len(a.names) == 0 {
		return overview(h, u)
	}
	code := 0
	for i, n := range a.names {
		if i > 0 && !a.quiet {
			fmt.Fprintln(h.Out)
		}
		f, err := u.find(n)
		if err != nil {
			code = h.fail(exitNoUnit, "Unit %s could not be found.", withSuffix(n))
			continue
		}
		active, _ := f.active()
		if active == "inactive" || active == "failed" {
			code = exitNotActive
		}
		if !a.quiet {
			h.printStatus(ctx, f, a.lines)
		}
	}
	return code
}

func overview(h *Host, u units) int {
	failed := 0
	for _, s := range u.state.Services {
		if s.State == "failed" {
			failed++
		}
	}
	fmt.Fprintf(h.Out, "● %s\n    State: %s, %s\n    Units: %d services, %d of them failed (systemctl list-units)\n    Since: %s\n",
		u.state.Server, u.state.State, orWord(string(u.state.Role), "no set started"), len(u.state.Services), failed, stampOf(u.state.Started, h.Now()))
	return 0
}

func orWord(s, or string) string {
	if s == "" {
		return or
	}
	return s
}

func (h *Host) printStatus(ctx context.Context, f unit, lines int) {
	active, sub := f.active()
	dot := map[string]string{"active": "●", "failed": "×"}[active]
	fmt.Fprintf(h.Out, "%s %s.service - %s\n", orWord(dot, "○"), f.id, f.svc.Title)
	fmt.Fprintf(h.Out, "     Loaded: loaded (pack %s; %s)\n", f.svc.Name, enabledWord(f))
	since := ""
	if !f.svc.Since.IsZero() && f.svc.State != "off" {
		since = " since " + stampOf(f.svc.Since, h.Now())
	}
	fmt.Fprintf(h.Out, "     Active: %s (%s)%s\n", active, sub, since)
	if f.svc.Restarts > 0 {
		fmt.Fprintf(h.Out, "   Restarts: %d\n", f.svc.Restarts)
	}
	if f.svc.Waiting != "" {
		fmt.Fprintf(h.Out, "    Waiting: %s\n", f.svc.Waiting)
	}
	for i, p := range f.procs {
		word := "             "
		if i == 0 {
			word = "   Main PID: "
		}
		if p.PID == 0 {
			fmt.Fprintf(h.Out, "%s- (%s), %s\n", word, p.Name, p.State)
			continue
		}
		fmt.Fprintf(h.Out, "%s%d (%s), %s\n", word, p.PID, p.Name, p.State)
	}
	if f.svc.MemoryBytes > 0 {
		fmt.Fprintf(h.Out, "     Memory: %.1fM\n", float64(f.svc.MemoryBytes)/(1<<20))
	}
	if f.svc.Error != "" && active != "active" {
		fmt.Fprintf(h.Out, "      Error: %s\n", f.svc.Error)
	}
	if lines == 0 || f.svc.State == "off" {
		return
	}
	fmt.Fprintln(h.Out)
	j := journal{units: []unit{f}, n: lines, format: "short"}
	if _, err := h.print(ctx, j); err != nil {
		fmt.Fprintf(h.Err, "log: %v\n", err)
	}
}

// stampOf is systemd's way to tell a time: "Fri 2026-11-20 10:00:00 UTC; 2h 5min ago".
func stampOf(t, now time.Time) string {
	return t.Local().Format("Mon 2006-01-02 15:04:05 MST") + "; " + ago(now.Sub(t)) + " ago"
}

func ago(d time.Duration) string {
	d = max(d.Round(time.Second), 0)
	var parts []string
	for _, u := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if n := d / u.size; n > 0 {
			parts = append(parts, fmt.Sprintf("%d%s", n, u.name))
			d %= u.size
		}
	}
	if len(parts) == 0 {
		return "0s"
	}
	return strings.Join(parts[:min(2, len(parts))], " ")
}

// properties are what scripts ask for.
func properties(f unit, found bool) [][2]string {
	active, sub := "inactive", "dead"
	load, file := "not-found", ""
	if found {
		active, sub = f.active()
		load, file = "loaded", enabledWord(f)
	}
	result := "success"
	if active == "failed" {
		result = "exit-code"
	}
	since := ""
	if !f.svc.Since.IsZero() {
		since = f.svc.Since.Local().Format("Mon 2006-01-02 15:04:05 MST")
	}
	enter := ""
	if active == "active" {
		enter = since
	}
	yes := map[bool]string{true: "yes", false: "no"}
	return [][2]string{
		{"Id", f.id + ".service"},
		{"Names", f.id + ".service"},
		{"Description", orWord(f.svc.Title, f.id+".service")},
		{"LoadState", load},
		{"ActiveState", active},
		{"SubState", sub},
		{"UnitFileState", file},
		{"Type", "notify"},
		{"MainPID", fmt.Sprint(f.pid())},
		{"ControlPID", "0"},
		{"ExecMainPID", fmt.Sprint(f.pid())},
		{"ExecMainStatus", map[bool]string{true: "1", false: "0"}[active == "failed"]},
		{"ExecMainStartTimestamp", since},
		{"ActiveEnterTimestamp", enter},
		{"StateChangeTimestamp", since},
		{"Result", result},
		{"NRestarts", fmt.Sprint(f.svc.Restarts)},
		{"CanReload", yes[f.canReload()]},
		{"CanStart", yes[found]},
		{"CanStop", yes[found]},
		{"NeedDaemonReload", "no"},
		{"MemoryCurrent", fmt.Sprint(f.svc.MemoryBytes)},
		{"StatusText", f.svc.Error},
		{"FragmentPath", fragment(f, found)},
	}
}

func fragment(f unit, found bool) string {
	if !found {
		return ""
	}
	return "/usr/lib/atlas/packs/" + f.svc.Name + "/pack.yaml"
}

func show(_ context.Context, h *Host, a systemctlArgs, u units) int {
	if len(a.names) == 0 {
		return h.fail(1, "systemctl show: name a service; properties of the manager are not kept here (atlas status)")
	}
	for i, n := range a.names {
		id, err := serviceName(n)
		if err != nil {
			return h.fail(1, "systemctl show %s: %v", n, err)
		}
		f, err := u.find(n)
		if err != nil {
			f = unit{id: id}
		}
		if i > 0 {
			fmt.Fprintln(h.Out)
		}
		known := properties(f, err == nil)
		for _, p := range known {
			switch {
			case len(a.properties) > 0 && !slices.Contains(a.properties, p[0]):
			case a.value:
				fmt.Fprintln(h.Out, p[1])
			default:
				fmt.Fprintf(h.Out, "%s=%s\n", p[0], p[1])
			}
		}
		for _, want := range a.properties {
			if !slices.ContainsFunc(known, func(p [2]string) bool { return p[0] == want }) {
				h.fail(0, "systemctl show: %s is not known here", want)
			}
		}
	}
	return 0
}

// wanted tells whether -t and --state let a unit through.
func (a systemctlArgs) wanted(f unit) bool {
	active, sub := f.active()
	if len(a.types) > 0 && !slices.Contains(a.types, "service") {
		return false
	}
	return len(a.states) == 0 || slices.Contains(a.states, active) || slices.Contains(a.states, sub) || slices.Contains(a.states, enabledWord(f))
}

func (a systemctlArgs) named(f unit) bool {
	return len(a.names) == 0 || slices.Contains(a.names, f.id) || slices.Contains(a.names, f.id+".service")
}

func listUnits(_ context.Context, h *Host, a systemctlArgs, u units) int {
	if !a.noLegend {
		fmt.Fprintf(h.Out, "  %-34s %-9s %-12s %-8s %s\n", "UNIT", "LOAD", "ACTIVE", "SUB", "DESCRIPTION")
	}
	n := 0
	for _, f := range u.list() {
		if !a.wanted(f) || !a.named(f) || f.svc.State == "off" && !a.all {
			continue
		}
		active, sub := f.active()
		mark := " "
		if active == "failed" {
			mark = "●"
		}
		if a.plain {
			mark = ""
		} else {
			mark += " "
		}
		fmt.Fprintf(h.Out, "%s%-34s %-9s %-12s %-8s %s\n", mark, f.id+".service", "loaded", active, sub, f.svc.Title)
		n++
	}
	if !a.noLegend {
		fmt.Fprintf(h.Out, "\n%d loaded units listed.", n)
		if !a.all {
			fmt.Fprint(h.Out, " Those that are switched off too: --all.")
		}
		fmt.Fprintln(h.Out)
	}
	return 0
}

func listUnitFiles(_ context.Context, h *Host, a systemctlArgs, u units) int {
	if !a.noLegend {
		fmt.Fprintf(h.Out, "%-34s %s\n", "UNIT FILE", "STATE")
	}
	n := 0
	for _, f := range u.list() {
		if a.wanted(f) && a.named(f) {
			fmt.Fprintf(h.Out, "%-34s %s\n", f.id+".service", enabledWord(f))
			n++
		}
	}
	if !a.noLegend {
		fmt.Fprintf(h.Out, "\n%d unit files listed.\n", n)
	}
	return 0
}
