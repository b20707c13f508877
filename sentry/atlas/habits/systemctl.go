package habits

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/initapi"
)

// Exit statuses of systemctl(1), from LSB.
const (
	exitNotActive = 3
	exitNoUnit    = 4 // asked for its status
	exitNotLoaded = 5 // asked to do something
)

// systemctlArgs is a parsed command line of systemctl.
type systemctlArgs struct {
	verb                                                string
	names                                               []string
	quiet, noBlock, now, all, plain, noLegend, value, f bool
	properties, types, states                           []string
	signal                                              syscall.Signal
	lines                                               int
}

// parseSystemctl reads a command line. Options may stand anywhere. An error says what to do instead.
func parseSystemctl(args []string) (systemctlArgs, error) {
	a := systemctlArgs{lines: 10, signal: syscall.SIGTERM}
	for i := 0; i < len(args); i++ {
		opt := args[i]
		if opt == "--" {
			a.names = append(a.names, args[i+1:]...)
			break
		}
		if !strings.HasPrefix(opt, "-") || opt == "-" {
			a.names = append(a.names, opt)
			continue
		}
		key, val, has := strings.Cut(opt, "=")
		if !strings.HasPrefix(opt, "--") && len(opt) > 2 { // -pActiveState, -qa
			if strings.ContainsRune("ptsnoH", rune(opt[1])) {
				key, val, has = opt[:2], opt[2:], true
			} else {
				args = slices.Concat(args[:i], []string{opt[:2], "-" + opt[2:]}, args[i+1:])
				key, has = opt[:2], false
			}
		}
		if slices.Contains([]string{"-p", "--property", "-t", "--type", "--state", "-s", "--signal", "-n", "--lines", "-o", "--output", "--kill-who", "--kill-whom", "--job-mode", "-P", "-H", "--host", "-M", "--machine", "--root"}, key) && !has {
			if i++; i >= len(args) {
				return a, fmt.Errorf("option %s needs a value", key)
			}
			val = args[i]
		}
		if err := a.option(key, val); err != nil {
			return a, err
		}
	}
	if len(a.names) > 0 {
		a.verb, a.names = a.names[0], a.names[1:]
	}
	return a, nil
}

func (a *systemctlArgs) option(key, val string) error {
	list := func() []string { return strings.Split(val, ",") }
	switch key {
	case "-q", "--quiet":
		a.quiet = true
	case "--no-block":
		a.noBlock = true
	case "--now":
		a.now = true
	case "-a", "--all":
		a.all = true
	case "--plain":
		a.plain = true
	case "--no-legend", "--legend":
		a.noLegend = key == "--no-legend" || val == "no" || val == "false"
	case "--value":
		a.value = true
	case "-p", "--property":
		a.properties = append(a.properties, list()...)
	case "-P":
		a.properties, a.value = append(a.properties, list()...), true
	case "-t", "--type":
		a.types = append(a.types, list()...)
	case "--state":
		a.states = append(a.states, list()...)
	case "--failed":
		a.states = append(a.states, "failed")
	case "-f", "--force":
		a.f = true
	case "-n", "--lines":
		n, err := strconv.Atoi(val)
		if err != nil || n < 0 {
			return fmt.Errorf("option %s: %q is not a number of lines", key, val)
		}
		a.lines = n
	case "-s", "--signal":
		sig, err := parseSignal(val)
		if err != nil {
			return err
		}
		a.signal = sig
	case "--version":
		a.names = append(a.names, "--version")
	case "-h", "--help":
		a.names = append(a.names, "help")
	case "--no-pager", "--system", "--no-ask-password", "--no-wall", "-l", "--full", "--no-warn", "--no-reload", "-i", "--fail", "--job-mode", "--kill-who", "--kill-whom", "-o",
		"--output", "--show-types", "--wait", "--check-inhibitors", "--ignore-dependencies", "--no-ask", "--recursive", "-r", "--runtime":
	case "--user", "--global":
		return fmt.Errorf("%s: services of users are not supervised here; use cron or at", key)
	case "-H", "--host", "-M", "--machine", "--root":
		return fmt.Errorf("%s: only this server can be asked; use ssh for another", key)
	default:
		return fmt.Errorf("unknown option %s", key)
	}
	return nil
}

// parseSignal reads HUP, SIGHUP or 1.
func parseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 65 {
		return syscall.Signal(n), nil
	}
	if sig := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("%q is not a signal", s)
}

// refusals say what to do instead of verbs that have no sense here.
func refusals() map[string]string {
	const packs = "a service is defined by its pack and configured in its usual files in /etc (systemctl cat NAME)"
	return map[string]string{
		"mask":               "use `systemctl disable --now NAME`: nothing else starts a service that is switched off",
		"unmask":             "use `systemctl enable NAME`",
		"edit":               packs,
		"set-property":       packs,
		"link":               packs,
		"revert":             packs,
		"preset":             "use `systemctl enable` or `disable`",
		"preset-all":         "use `systemctl enable` or `disable`",
		"add-wants":          packs,
		"add-requires":       packs,
		"isolate":            "there are no targets; start and stop services by name",
		"set-default":        "there are no targets; the server always starts all services that are enabled",
		"rescue":             "use the console (key s) with root's password",
		"emergency":          "use the console (key s) with root's password",
		"daemon-reexec":      "init is part of the image; it changes with an update and a restart",
		"suspend":            "a server does not sleep",
		"hibernate":          "a server does not sleep",
		"hybrid-sleep":       "a server does not sleep",
		"kexec":              "use `systemctl reboot`",
		"soft-reboot":        "use `systemctl reboot`",
		"switch-root":        "init does this by itself when it boots",
		"list-timers":        "there are no timers; see /etc/crontab, /etc/cron.d and `crontab -l`",
		"list-sockets":       "there are no socket units; see `ss -ltnp`",
		"list-dependencies":  "see `needs` in `systemctl cat NAME`",
		"freeze":             "stop the service",
		"thaw":               "start the service",
		"clean":              "remove the service's files by hand",
		"log-level":          "init's log is in /var/log/atlas/init.log",
		"set-environment":    packs,
		"unset-environment":  packs,
		"import-environment": packs,
	}
}

func systemctl(ctx context.Context, h *Host, args []string) int {
	a, err := parseSystemctl(args)
	if err != nil {
		return h.fail(1, "systemctl: %v", err)
	}
	switch a.verb {
	case "":
		a.verb = "list-units"
	case "--version":
		fmt.Fprintln(h.Out, "ATLAS init (no systemd); this systemctl knows the usual verbs for services")
		return 0
	case "help":
		fmt.Fprint(h.Out, systemctlHelp)
		return 0
	case "reset-failed", "list-jobs":
		if a.verb == "list-jobs" {
			fmt.Fprintln(h.Out, "No jobs running.")
		}
		return 0 // a failed service is tried again by itself: there is no mark to take away
	case "get-default":
		fmt.Fprintln(h.Out, "multi-user.target")
		return 0
	case "poweroff", "reboot", "halt":
		if a.f {
			a.names = append(a.names, "-f")
		}
		return power(ctx, h, a.verb, a.names)
	}
	if why, ok := refusals()[a.verb]; ok {
		return h.fail(1, "systemctl %s is not done here: %s.", a.verb, why)
	}
	run := systemctlVerbs()[a.verb]
	if run == nil {
		return h.fail(1, "systemctl: unknown verb %s; see systemctl --help", a.verb)
	}
	u, err := h.load(ctx)
	if err != nil {
		return h.fail(1, "systemctl: %s", words(err))
	}
	a.names = u.expand(a.names)
	return run(ctx, h, a, u)
}

const systemctlHelp = `systemctl VERB [NAME...] for the services of this server:
  start stop restart try-restart reload reload-or-restart try-reload-or-restart kill
  enable disable [--now]      status show cat      is-active is-enabled is-failed is-system-running
  list-units list-unit-files  daemon-reload        poweroff reboot
`

type systemctlVerb func(ctx context.Context, h *Host, a systemctlArgs, u units) int

func systemctlVerbs() map[string]systemctlVerb {
	out := map[string]systemctlVerb{
		"is-active": isActive, "is-failed": isFailed, "is-enabled": isEnabled, "is-system-running": isSystemRunning,
		"status": status, "show": show, "cat": cat, "list-units": listUnits, "list-unit-files": listUnitFiles, "kill": killUnits,
		"enable": enable, "disable": enable, "reenable": enable, "daemon-reload": daemonReload,
	}
	for _, v := range []string{"start", "stop", "restart", "try-restart", "condrestart", "reload", "force-reload", "reload-or-restart", "try-reload-or-restart", "condreload"} {
		out[v] = act
	}
	return out
}

// siteReloader is what newer inits can do besides.
type siteReloader interface {
	ReloadSite(ctx context.Context) (string, error)
}

// daemonReload makes init read what it reads from files again: the site's settings.
func daemonReload(ctx context.Context, h *Host, _ systemctlArgs, _ units) int {
	r, ok := h.Init.(siteReloader)
	if !ok {
		return 0
	}
	note, err := r.ReloadSite(ctx)
	if err != nil {
		return h.fail(1, "systemctl daemon-reload: %s", words(err))
	}
	if note != "" {
		fmt.Fprintln(h.Err, note)
	}
	return 0
}

func killUnits(_ context.Context, h *Host, a systemctlArgs, u units) int {
	return a.each(h, u, exitNotLoaded, func(f unit) int {
		code := 0
		for _, p := range f.procs {
			if p.PID == 0 {
				continue
			}
			if err := h.Kill(p.PID, a.signal); err != nil {
				code = h.fail(1, "Failed to kill unit %s.service: %v", f.id, err)
			}
		}
		return code
	})
}

// each does f for every named unit and returns the last status that is not 0.
func (a systemctlArgs) each(h *Host, u units, missing int, f func(unit) int) int {
	if len(a.names) == 0 {
		return h.fail(1, "systemctl %s: name a service; systemctl list-units lists them", a.verb)
	}
	code := 0
	for _, n := range a.names {
		found, err := u.find(n)
		c := missing
		if err == nil {
			c = f(found)
		} else if !a.quiet {
			if err == errNoUnit { //nolint:errorlint // find returns it as it is
				h.fail(0, "Failed to %s %s: Unit %s not found.", a.verb, withSuffix(n), withSuffix(n))
			} else {
				h.fail(0, "Failed to %s %s: %v", a.verb, n, err)
			}
		}
		if c != 0 {
			code = c
		}
	}
	return code
}

func withSuffix(name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	return name + ".service"
}

// cat prints the pack, which is what unit files are elsewhere.
func cat(_ context.Context, h *Host, a systemctlArgs, u units) int {
	return a.each(h, u, 1, func(f unit) int {
		p, err := h.definition(f)
		if err != nil {
			return h.fail(1, "systemctl cat %s: %v", f.id, err)
		}
		return h.printFile(p)
	})
}

func (h *Host) printFile(p pack.Pack) int {
	name := p.Dir + "/pack.yaml"
	data, err := readFile(name)
	if err != nil {
		return h.fail(1, "systemctl cat: %v", err)
	}
	fmt.Fprintf(h.Out, "# %s\n%s\n", name, strings.TrimRight(string(data), "\n"))
	return 0
}

func isSystemRunning(_ context.Context, h *Host, a systemctlArgs, u units) int {
	word, code := "running", 0
	switch u.state.State {
	case initapi.Booting, initapi.Installing:
		word, code = "starting", 1
	case initapi.Stopping:
		word, code = "stopping", 1
	case initapi.Holding:
		word, code = "maintenance", 1
	default:
		for _, s := range u.state.Services {
			if s.State == "failed" {
				word, code = "degraded", 1
			}
		}
	}
	if !a.quiet {
		fmt.Fprintln(h.Out, word)
	}
	return code
}
