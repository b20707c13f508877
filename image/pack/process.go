package pack

import (
	"fmt"
	"strings"

	"sayasystems.com/atlas/image/settings"
)

func (l *loaded) checkProcesses() error {
	if len(l.Processes) == 0 && len(l.Needs) == 0 {
		return l.f.Errorf("processes", "is missing; a pack without a process of its own must need one that has")
	}
	names := map[string]int{}
	for i, p := range l.Processes {
		key := fmt.Sprintf("processes[%d]", i)
		if !namePattern.MatchString(p.Name) {
			return l.f.Errorf(key+".name", "must be lower-case letters, digits and hyphens, at most 40")
		}
		if _, ok := names[p.Name]; ok {
			return l.f.Errorf(key+".name", "%s stands here twice", p.Name)
		}
		names[p.Name] = i
		if err := l.checkProcess(key, p); err != nil {
			return err
		}
	}
	for i, p := range l.Processes {
		for j, a := range p.After {
			key := fmt.Sprintf("processes[%d].after[%d]", i, j)
			if _, ok := names[a]; !ok {
				return l.f.Errorf(key, "there is no process %q in this pack", a)
			}
			if l.reaches(names, a, p.Name, map[string]bool{}) {
				return l.f.Errorf(key, "%s and %s wait for each other", p.Name, a)
			}
		}
	}
	return nil
}

// reaches tells whether process from comes after process to, directly or not.
func (l *loaded) reaches(names map[string]int, from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	i, ok := names[from]
	if !ok || seen[from] {
		return false
	}
	seen[from] = true
	for _, a := range l.Processes[i].After {
		if l.reaches(names, a, to, seen) {
			return true
		}
	}
	return false
}

func (l *loaded) checkProcess(key string, p Process) error {
	if err := checkCommand(l.f, key+".command", p.Command); err != nil {
		return err
	}
	if p.User != "" && !userPattern.MatchString(p.User) {
		return l.f.Errorf(key+".user", "%q is not an account name", p.User)
	}
	for j, e := range p.Env {
		k := fmt.Sprintf("%s.env[%d]", key, j)
		if !envPattern.MatchString(e) {
			return l.f.Errorf(k, "%q must be KEY=VALUE", e)
		}
		if err := checkTemplate(l.f, k, e); err != nil {
			return err
		}
	}
	for j, d := range p.RunDirs {
		k := fmt.Sprintf("%s.run_dirs[%d]", key, j)
		if !absolute(d.Path) || !below(d.Path, "/run") {
			return l.f.Errorf(k+".path", "%q must be an absolute path below /run", d.Path)
		}
		if d.User != "" && !userPattern.MatchString(d.User) {
			return l.f.Errorf(k+".user", "%q is not an account name", d.User)
		}
		if err := checkMode(l.f, k+".mode", d.Mode); err != nil {
			return err
		}
	}
	for _, s := range []struct{ key, name string }{{".stop", p.Stop}, {".reload", p.Reload}} {
		if s.name == "" {
			continue
		}
		if _, err := ParseSignal(s.name); err != nil {
			return l.f.Errorf(key+s.key, "%v", err)
		}
	}
	if err := checkDuration(l.f, key+".stop_timeout", p.StopTimeout); err != nil {
		return err
	}
	return checkReady(l.f, key+".ready", p.Ready)
}

func checkReady(f *settings.File, key string, r Ready) error {
	var ways []string
	if r.Notify {
		ways = append(ways, "notify")
	}
	if r.TCP != 0 {
		ways = append(ways, "tcp")
		if r.TCP < 1 || r.TCP > 65535 {
			return f.Errorf(key+".tcp", "is %d; must be between 1 and 65535", r.TCP)
		}
	}
	if r.Socket != "" {
		ways = append(ways, "socket")
		if !absolute(r.Socket) {
			return f.Errorf(key+".socket", "must be an absolute path")
		}
	}
	if len(r.Command) > 0 {
		ways = append(ways, "command")
		if err := checkCommand(f, key+".command", r.Command); err != nil {
			return err
		}
	}
	switch {
	case len(ways) == 0:
		return f.Errorf(key, "says nothing; give exactly one of notify, tcp, socket and command")
	case len(ways) > 1:
		return f.Errorf(key, "has %s; give exactly one", strings.Join(ways, " and "))
	}
	return checkDuration(f, key+".timeout", r.Timeout)
}

func checkSteps(f *settings.File, key string, steps []Step) error {
	names := map[string]bool{}
	for i, s := range steps {
		k := fmt.Sprintf("%s[%d]", key, i)
		switch {
		case strings.TrimSpace(s.Name) == "":
			return f.Errorf(k+".name", "is missing")
		case names[s.Name]:
			return f.Errorf(k+".name", "%s stands here twice", s.Name)
		case s.Unless != "" && !absolute(s.Unless) && !strings.HasPrefix(s.Unless, "{{.StateDir}}/"):
			return f.Errorf(k+".unless", "must be an absolute path")
		case s.User != "" && !userPattern.MatchString(s.User):
			return f.Errorf(k+".user", "%q is not an account name", s.User)
		}
		names[s.Name] = true
		if err := checkTemplate(f, k+".unless", s.Unless); err != nil {
			return err
		}
		if err := checkCommand(f, k+".command", s.Command); err != nil {
			return err
		}
		if err := checkDuration(f, k+".timeout", s.Timeout); err != nil {
			return err
		}
	}
	return nil
}

func checkCommand(f *settings.File, key string, command []string) error {
	if len(command) == 0 {
		return f.Errorf(key, "is missing")
	}
	if !absolute(command[0]) {
		return f.Errorf(key+"[0]", "%q must be an absolute path", command[0])
	}
	for i, a := range command {
		if err := checkTemplate(f, fmt.Sprintf("%s[%d]", key, i), a); err != nil {
			return err
		}
	}
	return nil
}
