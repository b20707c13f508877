package habits

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Exit statuses of LSB's status action, and of invoke-rc.d(8).
const (
	lsbStopped = 3
	lsbUnknown = 4

	rcUnknown  = 100
	rcSyntax   = 103
	rcAllowed  = 104
	rcNoAction = 101
)

// initVerb is systemctl's verb for one of init scripts; "" if it has none.
func initVerb(v string) string {
	switch v {
	case "start", "stop", "restart", "reload", "try-restart", "status":
		return v
	case "condrestart":
		return "try-restart"
	case "force-reload":
		return "reload-or-restart"
	}
	return ""
}

// service is service(8).
func service(ctx context.Context, h *Host, args []string) int {
	const usage = "usage: service NAME start|stop|restart|reload|force-reload|try-restart|status, or service --status-all"
	switch {
	case len(args) == 0 || args[0] == "-h" || args[0] == "--help":
		return h.fail(1, usage)
	case args[0] == "--version":
		fmt.Fprintln(h.Out, "service, for ATLAS init")
		return 0
	case args[0] == "--status-all":
		return statusAll(ctx, h)
	case strings.HasPrefix(args[0], "-"):
		return h.fail(1, usage)
	case len(args) == 1:
		return h.fail(1, usage)
	}
	name, verb := args[0], args[1]
	if verb == "--full-restart" {
		verb = "restart"
	}
	u, err := h.load(ctx)
	if err != nil {
		return h.fail(1, "service: %s", words(err))
	}
	f, err := u.find(strings.TrimSuffix(name, ".sh"))
	known := err == nil
	switch {
	case initVerb(verb) == "":
		return h.script(name, args[1:], known)
	case !known && verb == "status":
		return h.fail(lsbUnknown, "%s: unrecognized service", name)
	case !known:
		return h.fail(1, "%s: unrecognized service", name)
	case verb == "status":
		return status(ctx, h, systemctlArgs{names: []string{f.id}, lines: 10}, u)
	}
	if err := h.order(ctx, f, initVerb(verb), false); err != nil {
		return h.fail(1, "service %s %s: %s", name, verb, words(err))
	}
	return 0
}

// script runs what a script of /etc/init.d has besides the usual verbs (apache2 configtest); it is told not to come back here.
func (h *Host) script(name string, args []string, known bool) int {
	file := h.path("/etc/init.d/" + name)
	if strings.Contains(name, "/") || !executable(file) {
		if known {
			return h.fail(1, "service %s: unknown verb %s; known are start, stop, restart, reload, force-reload, try-restart and status", name, args[0])
		}
		return h.fail(1, "%s: unrecognized service", name)
	}
	if err := h.Exec(file, append([]string{file}, args...)); err != nil {
		return h.fail(1, "service %s: %v", name, err)
	}
	return 0
}

func executable(file string) bool {
	st, err := os.Stat(file)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

func statusAll(ctx context.Context, h *Host) int {
	u, err := h.load(ctx)
	if err != nil {
		return h.fail(1, "service: %s", words(err))
	}
	for _, f := range u.list() {
		mark := "-"
		if active, _ := f.active(); active == "active" {
			mark = "+"
		}
		fmt.Fprintf(h.Out, " [ %s ]  %s\n", mark, f.id)
	}
	return 0
}

// invokeRC is invoke-rc.d(8), for packages' scripts: what they ask for a service that this server does not have, or that does not
// run, is not their fault.
func invokeRC(ctx context.Context, h *Host, args []string) int {
	quiet, query := false, false
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "--quiet":
			quiet = true
		case "--query":
			query = true
		case "--force", "--try-anyway", "--disclose-deny", "--no-fallback", "--skip-systemd-native":
		case "--help":
			fmt.Fprintln(h.Out, "usage: invoke-rc.d [--quiet] [--query] NAME VERB")
			return 0
		default:
			return h.fail(rcSyntax, "invoke-rc.d: unknown option %s", args[0])
		}
		args = args[1:]
	}
	if len(args) < 2 {
		return h.fail(rcSyntax, "usage: invoke-rc.d [--quiet] [--query] NAME VERB")
	}
	name, verb := args[0], args[1]
	say := func(format string, a ...any) {
		if !quiet {
			fmt.Fprintf(h.Err, "invoke-rc.d: "+format+"\n", a...)
		}
	}
	do := initVerb(verb)
	if do == "" {
		say("%s is not a verb for services", verb)
		return rcNoAction
	}
	u, err := h.load(ctx)
	if err != nil {
		say("%s", words(err))
		return 102
	}
	f, err := u.find(name)
	switch {
	case err != nil && query:
		return rcUnknown
	case query:
		return rcAllowed
	case err != nil && do == "status":
		return lsbUnknown
	case err != nil:
		say("%s is not a service of this server; nothing to %s", name, verb)
		return 0
	case do == "status":
		if quiet {
			h = &Host{Init: h.Init, Out: io.Discard, Err: io.Discard, Now: h.Now, Packs: h.Packs, Root: h.Root}
		}
		return status(ctx, h, systemctlArgs{names: []string{f.id}}, u)
	}
	active, _ := f.active()
	if active == "inactive" {
		if do != "stop" && f.svc.State == "off" {
			say("%s is switched off; not done: %s (systemctl enable --now %s)", name, verb, name)
			return 0
		}
		if do == "reload" || do == "reload-or-restart" {
			say("%s does not run, so there is nothing to reload", name)
			return 0
		}
	}
	if err := h.order(ctx, f, do, false); err != nil {
		say("%s %s: %s", name, verb, words(err))
		return 1
	}
	return 0
}

// updateRC is update-rc.d(8). What packages' scripts ask is answered by the packs already; what people ask is done.
func updateRC(ctx context.Context, h *Host, args []string) int {
	args = slices.DeleteFunc(slices.Clone(args), func(s string) bool { return s == "-f" || s == "-n" })
	if len(args) < 2 {
		return h.fail(1, "usage: update-rc.d NAME enable|disable")
	}
	switch args[1] {
	case "enable", "disable":
		if len(args) > 2 {
			return h.fail(1, "update-rc.d: there are no runlevels; without %s it is done for all", strings.Join(args[2:], " "))
		}
		return systemctl(ctx, h, []string{args[1], args[0]})
	case "defaults", "defaults-disabled", "remove", "start", "stop":
		fmt.Fprintf(h.Err, "update-rc.d: nothing to do for %s: services are known by their packs\n", args[0])
		return 0
	}
	return h.fail(1, "update-rc.d: unknown verb %s; known are enable and disable", args[1])
}
