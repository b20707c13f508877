// Package habits is what an administrator's fingers and Debian's scripts know: systemctl, service, invoke-rc.d, update-rc.d, journalctl,
// shutdown, reboot, halt, poweroff, telinit and runlevel, on a server whose init is ATLAS's. The command atlas takes these names as
// its own (Main, by argv[0]); the builder puts the links into the image (Links).
//
//	arguments → parsed request → initapi over init's socket, or the log files → words and exit status of systemctl(1), service(8), …
//
// What makes sense here is done, with the exit statuses that scripts rely on. What does not is refused in one line that says what to
// do instead: nothing is silently accepted that an administrator might count on. It emulates no unit files: a service is known from
// its pack alone, and is named by its units, its processes' names or its pack's name.
//
// Debian's deb-systemd-helper and deb-systemd-invoke stay as they are: they only keep links below /etc/systemd, and packages' scripts
// call them only where systemd runs.
package habits

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/initapi"
)

// Init is what is asked of init; initapi.Client has it.
type Init interface {
	State(ctx context.Context) (initapi.State, error)
	Service(ctx context.Context, name, verb string) error
	Power(ctx context.Context, r initapi.PowerRequest) error
}

// Host is the server that a habit is done on, and where it is told.
type Host struct {
	Init     Init
	Packs    func() ([]pack.Pack, error) // of the image
	Root     string                      // before the paths of log files, /etc/init.d and /run; "" but in tests
	Out, Err io.Writer
	Now      func() time.Time
	Pause    time.Duration // between looks at a service that is starting
	Wait     time.Duration // for a service that is starting, at most
	Kill     func(pid int, sig syscall.Signal) error
	Exec     func(path string, args []string) error // becomes another program
	Detach   func(args []string) error              // goes on with these arguments, without this terminal
}

// command is one of the names: it returns the exit status.
type command func(ctx context.Context, h *Host, args []string) int

func commands() map[string]command {
	return map[string]command{
		"systemctl":   systemctl,
		"service":     service,
		"invoke-rc.d": invokeRC,
		"update-rc.d": updateRC,
		"journalctl":  journalctl,
		"shutdown":    shutdown,
		"reboot":      func(ctx context.Context, h *Host, args []string) int { return power(ctx, h, "reboot", args) },
		"poweroff":    func(ctx context.Context, h *Host, args []string) int { return power(ctx, h, "poweroff", args) },
		"halt":        func(ctx context.Context, h *Host, args []string) int { return power(ctx, h, "halt", args) },
		"telinit":     telinit,
		"runlevel":    runlevel,
	}
}

// Links are the places in the image at which the command atlas is found by its other names. Those that Debian's base ships as scripts
// (service, invoke-rc.d, update-rc.d) are replaced.
func Links() []string {
	return []string{
		"/usr/bin/systemctl", "/usr/bin/journalctl", "/usr/sbin/service", "/usr/sbin/invoke-rc.d", "/usr/sbin/update-rc.d",
		"/usr/sbin/shutdown", "/usr/sbin/reboot", "/usr/sbin/poweroff", "/usr/sbin/halt", "/usr/sbin/telinit", "/usr/sbin/runlevel",
	}
}

// LSBHook is a file for /usr/lib/lsb/init-functions.d: who calls a script of /etc/init.d by its path gets the supervised service, as
// with systemd's hook of the same kind. Otherwise the script would start a second daemon beside init's.
const LSBHook = `# Scripts in /etc/init.d hand their usual verbs to init, which supervises the services.
if [ -z "${ATLAS_INITD:-}" ] && [ -S /run/atlas/init.sock ]; then
	if [ -n "${__init_d_script_name:-}" ]; then
		_atlas_script=$__init_d_script_name _atlas_verb=${1:-}
	else
		_atlas_script=$0 _atlas_verb=${1:-}
	fi
	case $_atlas_script in
	/etc/init.d/*)
		case $_atlas_verb in
		start | stop | restart | reload | force-reload | try-restart | condrestart | status)
			exec /usr/sbin/service "${_atlas_script##*/}" "$_atlas_verb"
			;;
		esac
		;;
	esac
fi
`

// Known tells whether name, argv[0] without directories, is one of ours.
func Known(name string) bool { return commands()[name] != nil }

// Main does what the command name does with args, on this server, and returns the exit status.
func Main(ctx context.Context, name string, args []string) int {
	h := &Host{
		Init: initapi.NewClient("").Patient(), Packs: func() ([]pack.Pack, error) { return pack.LoadAll(layout.PacksDir) },
		Out: os.Stdout, Err: os.Stderr, Now: time.Now, Pause: 200 * time.Millisecond, Wait: 90 * time.Second,
		Kill:   syscall.Kill,
		Exec:   func(path string, args []string) error { return syscall.Exec(path, args, os.Environ()) },
		Detach: detach,
	}
	return h.Run(ctx, name, args)
}

// Run does what the command name does with args.
func (h *Host) Run(ctx context.Context, name string, args []string) int {
	c := commands()[name]
	if c == nil {
		return h.fail(1, "%s: not a name of this command", name)
	}
	return c(ctx, h, args)
}

// fail writes one line and returns code.
func (h *Host) fail(code int, format string, args ...any) int {
	fmt.Fprintf(h.Err, format+"\n", args...)
	return code
}

// path is a file's on this host.
func (h *Host) path(name string) string { return filepath.Join("/", h.Root, name) }

// words turns an error of asking init into something to act on.
func words(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "only root may ask init; use sudo"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return "init does not answer on its socket; look at the console"
	}
	return strings.TrimPrefix(err.Error(), "ask init: ")
}
