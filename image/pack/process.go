package pack

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/layout"
)

// UnitNames are the names by which systemctl and service know the process.
func (p Process) UnitNames() []string {
	if len(p.Units) == 0 {
		return []string{p.Name}
	}
	return p.Units
}

func (l *loaded) checkProcesses() error {
	if len(l.Processes) == 0 && len(l.Needs) == 0 && len(l.Init) == 0 {
		return l.f.Errorf("processes", "is missing; a pack without a process of its own must need one that has, or do something in init")
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
	if err := l.checkCommand(key+".command", p.Command); err != nil {
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
	if err := l.checkOptions(key, p); err != nil {
		return err
	}
	if p.Oneshot {
		if r := p.Ready; r.Notify || r.Started || r.TCP != 0 || r.Socket != "" || len(r.Command) > 0 {
			return l.f.Errorf(key+".ready", "a oneshot process is ready when its command has ended; leave this out")
		}
		return checkDuration(l.f, key+".ready.timeout", p.Ready.Timeout)
	}
	return l.checkReady(key+".ready", p.Ready)
}

var (
	memoryPattern = regexp.MustCompile(`^[1-9][0-9]{0,5}[KMG]$`)
	unitPattern   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_@.-]{0,60}$`)
)

func (l *loaded) checkOptions(key string, p Process) error {
	for j, u := range p.Units {
		if !unitPattern.MatchString(u) {
			return l.f.Errorf(fmt.Sprintf("%s.units[%d]", key, j), "%q must be a unit's name without .service, such as apache2", u)
		}
	}
	if !slices.Contains([]string{"", "hardware", "namespace"}, p.Only) {
		return l.f.Errorf(key+".only", "must be hardware or namespace")
	}
	for _, c := range []struct {
		key     string
		command []string
	}{{".stop_command", p.StopCommand}, {".reload_command", p.ReloadCommand}} {
		if len(c.command) == 0 {
			continue
		}
		if err := l.checkCommand(key+c.key, c.command); err != nil {
			return err
		}
	}
	switch {
	case p.Reload != "" && len(p.ReloadCommand) > 0:
		return l.f.Errorf(key+".reload_command", "stands beside reload; give one of them")
	case p.Oneshot && len(p.Private) > 0:
		return l.f.Errorf(key+".private", "a oneshot's own directories would be gone when its command has ended; leave this out")
	case p.Limits.Memory != "" && !memoryPattern.MatchString(p.Limits.Memory):
		return l.f.Errorf(key+".limits.memory", "%q must be a number with K, M or G, such as 512M", p.Limits.Memory)
	case p.Limits.Processes < 0:
		return l.f.Errorf(key+".limits.processes", "must not be negative")
	case p.Limits.Files < 0:
		return l.f.Errorf(key+".limits.files", "must not be negative")
	}
	for j, d := range p.Private {
		if !absolute(d) || !below(d, "/run", "/var", "/tmp") {
			return l.f.Errorf(fmt.Sprintf("%s.private[%d]", key, j), "%q must be an absolute path below /run, /var or /tmp", d)
		}
	}
	return nil
}

func (l *loaded) checkReady(key string, r Ready) error {
	f := l.f
	var ways []string
	if r.Notify {
		ways = append(ways, "notify")
	}
	if r.Started {
		ways = append(ways, "started")
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
		if err := l.checkCommand(key+".command", r.Command); err != nil {
			return err
		}
	}
	switch {
	case r.Ask != "" && r.Answers == "":
		return f.Errorf(key+".ask", "says nothing of what must come back; give answers beside it")
	case r.Answers != "" && r.TCP == 0:
		return f.Errorf(key+".answers", "is for a port; give tcp beside it")
	case len(ways) == 0:
		return f.Errorf(key, "says nothing; give exactly one of notify, started, tcp, socket and command")
	case len(ways) > 1:
		return f.Errorf(key, "has %s; give exactly one", strings.Join(ways, " and "))
	}
	return checkDuration(f, key+".timeout", r.Timeout)
}

func (l *loaded) checkSteps(key string, steps []Step) error {
	f := l.f
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
		for j, p := range s.Watch {
			w := fmt.Sprintf("%s.watch[%d]", k, j)
			if !absolute(p) && !strings.HasPrefix(p, "{{.StateDir}}/") {
				return f.Errorf(w, "%q must be an absolute path", p)
			}
			if err := checkTemplate(f, w, p); err != nil {
				return err
			}
		}
		if err := checkTemplate(f, k+".unless", s.Unless); err != nil {
			return err
		}
		if err := l.checkCommand(k+".command", s.Command); err != nil {
			return err
		}
		if err := checkDuration(f, k+".timeout", s.Timeout); err != nil {
			return err
		}
	}
	return nil
}

func (l *loaded) checkCommand(key string, command []string) error {
	if len(command) == 0 {
		return l.f.Errorf(key, "is missing")
	}
	if !absolute(command[0]) {
		return l.f.Errorf(key+"[0]", "%q must be an absolute path", command[0])
	}
	for i, a := range command {
		k := fmt.Sprintf("%s[%d]", key, i)
		if err := checkTemplate(l.f, k, a); err != nil {
			return err
		}
		if err := l.checkScript(k, a); err != nil {
			return err
		}
	}
	return nil
}

// checkScript finds a file of a pack's folder that is not there: on a server it would be missed at the first start only.
func (l *loaded) checkScript(key, arg string) error {
	rest, ok := strings.CutPrefix(arg, layout.PacksDir+"/")
	if !ok {
		return nil
	}
	name, file, _ := strings.Cut(rest, "/")
	if name != l.Name {
		if !slices.Contains(l.Along(), name) {
			return l.f.Errorf(key, "%s belongs to pack %s, which this pack does not need; put it under needs, or the file into this pack's folder", arg, name)
		}
		return nil
	}
	if st, err := os.Stat(filepath.Join(l.Dir, file)); err != nil || !st.Mode().IsRegular() {
		return l.f.Errorf(key, "there is no file %s in the pack's folder", file)
	}
	return nil
}
