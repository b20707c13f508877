package habits

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestExitStatuses is the contract with scripts: status, orders that init got, and what stands in the output.
func TestExitStatuses(t *testing.T) {
	for _, c := range []struct {
		line   string
		code   int
		orders string // separated by ", "
		want   string // part of output or errors
	}{
		{"systemctl is-active apache2", 0, "", "active\n"},
		{"systemctl is-active apache2.service", 0, "", "active\n"},
		{"systemctl -q is-active apache2", 0, "", ""},
		{"systemctl is-active postfix", 3, "", "inactive\n"},
		{"systemctl is-active mysql", 3, "", "failed\n"},
		{"systemctl is-active nothing", 4, "", "inactive\n"},
		{"systemctl is-active nothing apache2", 0, "", "inactive\nactive\n"},
		{"systemctl is-active multi-user.target", 0, "", "active\n"},
		{"systemctl is-active some.timer", 4, "", "inactive\n"},
		{"systemctl is-active nut-server", 3, "", "inactive\n"},
		{"systemctl is-failed mariadb", 0, "", "failed\n"},
		{"systemctl is-failed apache2", 1, "", "active\n"},
		{"systemctl is-enabled apache2", 0, "", "enabled\n"},
		{"systemctl is-enabled nut-server", 1, "", "disabled\n"},
		{"systemctl is-enabled nothing", 4, "", "not-found\n"},
		{"systemctl status apache2", 0, "", "Active: active (running)"},
		{"systemctl status mariadb --no-pager", 3, "", "Error: mariadbd: exit status 1"},
		{"systemctl status postfix", 3, "", "Active: inactive (dead)"},
		{"systemctl status nothing", 4, "", "Unit nothing.service could not be found."},
		{"systemctl start apache2", 0, "", ""},
		{"systemctl start postfix", 0, "start postfix", ""},
		{"systemctl start nothing", 5, "", "Unit nothing.service not found."},
		{"systemctl stop apache2", 0, "stop apache", ""},
		{"systemctl stop atd", 0, "stop atd", ""},
		{"systemctl restart cron atd", 0, "restart cron, restart atd", ""},
		{"systemctl restart postfix", 0, "start postfix", ""},
		{"systemctl try-restart postfix", 0, "", ""},
		{"systemctl --no-block restart apache2", 0, "restart apache", ""},
		{"systemctl reload apache2", 0, "reload apache", ""},
		{"systemctl reload postfix", 1, "", "not active, cannot reload"},
		{"systemctl reload-or-restart atd", 0, "restart atd", ""},
		{"systemctl force-reload apache2", 0, "reload apache", ""},
		{"systemctl start apache2.socket", 5, "", "only services"},
		{"systemctl enable nut-server", 0, "enable nut", ""},
		{"systemctl enable apache2", 0, "", ""},
		{"systemctl disable --now atd", 0, "disable cron, stop atd", "part of the service cron"},
		{"systemctl kill -s HUP apache2", 0, "", ""},
		{"systemctl kill -s WRONG apache2", 1, "", "not a signal"},
		{"systemctl mask apache2", 1, "", "disable --now"},
		{"systemctl edit apache2", 1, "", "/etc"},
		{"systemctl isolate rescue.target", 1, "", "no targets"},
		{"systemctl wrong", 1, "", "unknown verb wrong"},
		{"systemctl --wrong start", 1, "", "unknown option --wrong"},
		{"systemctl --user status x", 1, "", "cron or at"},
		{"systemctl start", 1, "", "name a service"},
		{"systemctl cat apache2", 0, "", "name: apache\n"},
		{"systemctl show -p ActiveState,SubState apache2", 0, "", "ActiveState=active\nSubState=running\n"},
		{"systemctl show -pMainPID --value apache2", 0, "", "101\n"},
		{"systemctl show nothing --property=LoadState", 0, "", "LoadState=not-found\n"},
		{"systemctl list-units --no-legend --state=failed", 0, "", "● mariadb.service"},
		{"systemctl list-unit-files", 0, "", "nut-server.service                 disabled"},
		{"systemctl is-system-running", 1, "", "degraded\n"},
		{"systemctl daemon-reload", 0, "POST /v1/site/reload", ""},
		{"systemctl restart a*", 0, "restart apache, restart atd", ""},
		{"systemctl poweroff", 0, "power off (shutdown)", ""},
		{"systemctl reboot --force", 1, "", "without stopping"},

		{"service apache2 status", 0, "", "active (running)"},
		{"service postfix status", 3, "", "inactive"},
		{"service nothing status", 4, "", "unrecognized service"},
		{"service nothing start", 1, "", "unrecognized service"},
		{"service apache2 reload", 0, "reload apache", ""},
		{"service apache2 force-reload", 0, "reload apache", ""},
		{"service atd condrestart", 0, "restart atd", ""},
		{"service apache2 wrong", 1, "", "unknown verb wrong"},
		{"service --status-all", 0, "", " [ + ]  apache2\n [ + ]  atd\n [ + ]  cron\n [ - ]  mariadb\n"},
		{"service", 1, "", "usage"},

		{"invoke-rc.d apache2 reload", 0, "reload apache", ""},
		{"invoke-rc.d --quiet postfix reload", 0, "", ""},
		{"invoke-rc.d postfix restart", 0, "start postfix", ""},
		{"invoke-rc.d nothing restart", 0, "", "not a service of this server"},
		{"invoke-rc.d nut-server start", 0, "", "switched off"},
		{"invoke-rc.d --disclose-deny --force apache2 stop", 0, "stop apache", ""},
		{"invoke-rc.d --query apache2 start", 104, "", ""},
		{"invoke-rc.d --query nothing start", 100, "", ""},
		{"invoke-rc.d apache2 dance", 101, "", "not a verb"},
		{"invoke-rc.d --wrong apache2 start", 103, "", "unknown option"},
		{"invoke-rc.d apache2", 103, "", "usage"},
		{"invoke-rc.d --quiet postfix status", 3, "", ""},

		{"update-rc.d apache2 defaults", 0, "", "nothing to do"},
		{"update-rc.d postfix enable", 0, "enable postfix", ""},
		{"update-rc.d apache2", 1, "", "usage"},
		{"update-rc.d -f apache2 remove", 0, "", "nothing to do"},

		{"shutdown now", 0, "power off (shutdown)", ""},
		{"shutdown -r now new kernel", 0, "power reboot (shutdown: new kernel)", ""},
		{"shutdown -H now", 0, "power off (shutdown)", "no halt"},
		{"shutdown -c", 1, "", "no shutdown is to come"},
		{"shutdown -k +5", 0, "", ""},
		{"shutdown later", 1, "", "is not a time"},
		{"shutdown -x", 1, "", "unknown option -x"},
		{"reboot", 0, "power reboot (shutdown)", ""},
		{"reboot -f", 1, "", "hold the power button"},
		{"poweroff", 0, "power off (shutdown)", ""},
		{"halt -p", 0, "power off (shutdown)", ""},
		{"telinit 6", 0, "power reboot (shutdown)", ""},
		{"telinit 3", 1, "", "only 0"},
		{"runlevel", 0, "", "N 3\n"},

		{"journalctl -u nothing", 1, "", "no such service"},
		{"journalctl _PID=1", 1, "", "fields are not kept"},
		{"journalctl --vacuum-size=1G", 1, "", "logrotate"},
		{"journalctl -u apache2", 0, "", "-- No entries --"},
	} {
		r := newRig(t)
		code := r.do(c.line)
		if code != c.code {
			t.Errorf("%s = %d; want %d\n%s%s", c.line, code, c.code, &r.out, &r.err)
		}
		if got := strings.Join(r.init.orders, ", "); got != c.orders {
			t.Errorf("%s ordered %q; want %q", c.line, got, c.orders)
		}
		if all := r.out.String() + r.err.String(); !strings.Contains(all, c.want) || (c.want == "" && all != "") {
			t.Errorf("%s wrote %q; want %q in it", c.line, all, c.want)
		}
	}
}

func TestInitRefuses(t *testing.T) {
	r := newRig(t)
	r.init.refuse = "the server is shutting down"
	if code := r.do("systemctl restart apache2"); code != 1 || !strings.Contains(r.err.String(), "shutting down") {
		t.Errorf("restart = %d, %q", code, r.err.String())
	}
	r = newRig(t)
	r.init.sticky = true
	if code := r.do("service postfix start"); code != 1 || !strings.Contains(r.err.String(), "failed") {
		t.Errorf("start of what fails = %d, %q", code, r.err.String())
	}
	r.Init = nil
	r = newRig(t)
	r.Init = brokenInit(t)
	if code := r.do("systemctl is-active apache2"); code != 1 || !strings.Contains(r.err.String(), "does not answer") {
		t.Errorf("without init = %d, %q", code, r.err.String())
	}
}

func TestKillSendsTheSignal(t *testing.T) {
	r := newRig(t)
	r.do("systemctl kill --signal=SIGUSR1 cron.service")
	if diff := cmp.Diff([]string{"user defined signal 1", "user defined signal 1"}, r.killed); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff) // cron, by the pack's name, has two processes
	}
}

func TestServiceRunsScriptsOwnVerbs(t *testing.T) {
	r := newRig(t)
	write(t, r.path("/etc/init.d/apache2"), "#!/bin/sh\n")
	if code := r.do("service apache2 configtest now"); code != 0 {
		t.Errorf("configtest = %d, %s", code, &r.err)
	}
	if diff := cmp.Diff([]string{r.path("/etc/init.d/apache2"), "configtest", "now"}, r.executed); diff != "" {
		t.Errorf("script (-want +got):\n%s", diff)
	}
}

func TestShutdownLater(t *testing.T) {
	r := newRig(t)
	if code := r.do("shutdown -r +2 maintenance"); code != 0 || len(r.init.orders) != 0 {
		t.Fatalf("shutdown +2 = %d, orders %v", code, r.init.orders)
	}
	if diff := cmp.Diff([][]string{{waitOption, "-r", "+2", "--", "maintenance"}}, r.detached); diff != "" {
		t.Fatalf("background process (-want +got):\n%s", diff)
	}
	// The background process, with a clock that moves on.
	now := r.Now()
	r.Now = func() time.Time { now = now.Add(time.Minute); return now }
	write(t, filepath.Join(r.Root, "run/atlas/x"), "")
	if code := r.do("shutdown " + strings.Join(r.detached[0], " ")); code != 0 {
		t.Errorf("waiting = %d, %s", code, &r.err)
	}
	if diff := cmp.Diff([]string{"power reboot (shutdown: maintenance)"}, r.init.orders); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
	write(t, r.path(pending), `{"pid": 4242, "action": "off", "at": "2026-11-20T13:00:00Z"}`)
	if code := r.do("shutdown +1"); code != 1 || !strings.Contains(r.err.String(), "already") {
		t.Errorf("a second one = %d, %s", code, &r.err)
	}
	if code := r.do("shutdown -c"); code != 0 || r.killed[len(r.killed)-1] != "terminated" {
		t.Errorf("-c = %d, %s, signals %v", code, &r.err, r.killed)
	}
	write(t, r.path(pending), `{"pid": 99999, "action": "off"}`) // of a process that is gone
	if code := r.do("shutdown -c"); code != 1 {
		t.Errorf("-c of nothing = %d", code)
	}
}

func TestParseShutdown(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for args, want := range map[string]shutdownArgs{
		"":             {action: "off", in: time.Minute},
		"-h now":       {action: "off"},
		"-hP +5 a b":   {action: "off", in: 5 * time.Minute, message: "a b"},
		"-r 12:30":     {action: "reboot", in: 30 * time.Minute},
		"--reboot 11:": {},
		"11:59":        {action: "off", in: 23*time.Hour + 59*time.Minute},
		"-c never":     {action: "off", cancel: true, message: "never"},
	} {
		got, err := parseShutdown(strings.Fields(args), now)
		if want.action == "" {
			if err == nil {
				t.Errorf("parseShutdown(%q) succeeded", args)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("parseShutdown(%q) = %+v, %v; want %+v", args, got, err, want)
		}
	}
}

func TestLinksAreCommands(t *testing.T) {
	for _, l := range Links() {
		if !Known(filepath.Base(l)) {
			t.Errorf("%s is no command", l)
		}
	}
	if len(Links()) != len(commands()) {
		t.Errorf("%d links for %d commands", len(Links()), len(commands()))
	}
	if Known("atlas") {
		t.Error("atlas itself is taken for a habit")
	}
}
