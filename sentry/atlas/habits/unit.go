package habits

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/initapi"
)

// unit is a name that systemctl knows: one or more processes of a service, or all of them.
type unit struct {
	id    string // without ".service"
	svc   initapi.Service
	procs []initapi.Process
	whole bool // all processes of the service
}

// errNoUnit is the answer to a name that nothing has.
var errNoUnit = errors.New("not found")

// state is the state of the unit in init's words.
func (u unit) state() string {
	if u.whole || u.svc.State == initapi.Off {
		return u.svc.State
	}
	rank := []string{"failed", "stopping", "starting", "stopped", "ready"}
	worst := "ready"
	for _, p := range u.procs {
		if slices.Index(rank, p.State) < slices.Index(rank, worst) {
			worst = p.State
		}
	}
	if worst == "stopped" && u.svc.State == "starting" { // it waits for others
		return "starting"
	}
	return worst
}

// active is systemd's word for the state, and sub the finer one.
func (u unit) active() (active, sub string) {
	switch u.state() {
	case "ready":
		if u.pid() == 0 {
			return "active", "exited"
		}
		return "active", "running"
	case "starting":
		return "activating", "start"
	case "stopping":
		return "deactivating", "stop"
	case "failed":
		return "failed", "failed"
	}
	return "inactive", "dead"
}

// pid is the main process's; 0 if none runs.
func (u unit) pid() int {
	for _, p := range u.procs {
		if p.PID != 0 {
			return p.PID
		}
	}
	return 0
}

// order is the name under which init is asked to do something: a service of one process as a whole, so that its files are written
// anew too.
func (u unit) order() string {
	if u.whole {
		return u.svc.Name
	}
	return u.id
}

// units is all that can be named: the services that run here and those of the image that are off.
type units struct {
	state initapi.State
	all   []initapi.Service
}

// load asks init.
func (h *Host) load(ctx context.Context) (units, error) {
	st, err := h.Init.State(ctx)
	if err != nil {
		return units{}, err
	}
	return units{st, append(slices.Clone(st.Services), st.Off...)}, nil
}

// serviceName cuts ".service"; other kinds of units have no place here.
func serviceName(name string) (string, error) {
	for _, k := range []string{".target", ".timer", ".socket", ".mount", ".path", ".slice", ".scope", ".device", ".swap"} {
		if strings.HasSuffix(name, k) {
			return "", fmt.Errorf("there are no %s units here, only services: systemctl list-units", k[1:])
		}
	}
	return strings.TrimSuffix(name, ".service"), nil
}

// find looks a unit up: among services, then their units, then their processes, as init does.
func (u units) find(name string) (unit, error) {
	id, err := serviceName(name)
	if err != nil {
		return unit{}, err
	}
	for _, s := range u.all {
		if s.Name == id {
			return unit{id: id, svc: s, procs: s.Processes, whole: true}, nil
		}
	}
	for _, match := range []func(p initapi.Process) bool{
		func(p initapi.Process) bool { return slices.Contains(p.Units, id) },
		func(p initapi.Process) bool { return p.Name == id },
	} {
		for _, s := range u.all {
			found := unit{id: id, svc: s}
			for _, p := range s.Processes {
				if match(p) {
					found.procs = append(found.procs, p)
				}
			}
			if len(found.procs) > 0 {
				found.whole = len(found.procs) == len(s.Processes)
				return found, nil
			}
		}
	}
	return unit{}, errNoUnit
}

// list has each unit once, under the first of its names, in alphabetical order.
func (u units) list() []unit {
	var out []unit
	for _, s := range u.all {
		seen := map[string]int{}
		if len(s.Processes) == 0 {
			out = append(out, unit{id: s.Name, svc: s, whole: true})
		}
		for _, p := range s.Processes {
			id := p.Name
			if len(p.Units) > 0 {
				id = p.Units[0]
			}
			i, ok := seen[id]
			if !ok {
				i = len(out)
				seen[id] = i
				out = append(out, unit{id: id, svc: s})
			}
			out[i].procs = append(out[i].procs, p)
			out[i].whole = len(out[i].procs) == len(s.Processes)
		}
	}
	slices.SortStableFunc(out, func(a, b unit) int { return cmp.Compare(a.id, b.id) })
	return out
}

// expand replaces names with wildcards by the units that match.
func (u units) expand(names []string) []string {
	var out []string
	for _, n := range names {
		if !strings.ContainsAny(n, "*?[") {
			out = append(out, n)
			continue
		}
		for _, f := range u.list() {
			if ok, _ := path.Match(strings.TrimSuffix(n, ".service"), f.id); ok {
				out = append(out, f.id)
			}
		}
	}
	return out
}

// definition is the pack of a unit's service.
func (h *Host) definition(u unit) (pack.Pack, error) {
	packs, err := h.Packs()
	if err != nil {
		return pack.Pack{}, err
	}
	for _, p := range packs {
		if p.Name == u.svc.Name {
			return p, nil
		}
	}
	return pack.Pack{}, fmt.Errorf("the image has no pack %s", u.svc.Name)
}
