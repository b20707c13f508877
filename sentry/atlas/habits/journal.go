package habits

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// journal is what to show of the logs.
type journal struct {
	names        []string // units, as given
	units        []unit
	tags         []string
	follow       bool
	reverse      bool
	kernel       bool
	boot         bool
	n            int // newest lines; 0: all
	since, until time.Time
	format       string // short, short-iso, cat
	grep         *regexp.Regexp
	noPager      bool
	noHostname   bool
	quiet        bool
}

// journalNotes are told where an option cannot be kept.
const noPriorities = "journalctl: priorities are not kept in the log files; all lines are shown"

// parseJournal reads journalctl's command line. Notes are for people.
func parseJournal(args []string, now time.Time) (j journal, notes []string, err error) {
	j.format = "short"
	valued := []string{"-u", "--unit", "-n", "--lines", "-S", "--since", "-U", "--until", "-o", "--output", "-t", "--identifier", "-p", "--priority", "-g", "--grep", "-b", "--boot", "--facility"}
	for i := 0; i < len(args); i++ {
		opt := args[i]
		if !strings.HasPrefix(opt, "-") || opt == "-" {
			return j, nil, fmt.Errorf("%q: fields are not kept; use -u SERVICE, -t NAME or --grep", opt)
		}
		key, val, has := strings.Cut(opt, "=")
		if !strings.HasPrefix(opt, "--") && len(opt) > 2 { // -n50, -fu
			if slices.Contains(valued, opt[:2]) {
				key, val, has = opt[:2], opt[2:], true
			} else {
				args = slices.Concat(args[:i], []string{opt[:2], "-" + opt[2:]}, args[i+1:])
				key, has = opt[:2], false
			}
		}
		if slices.Contains(valued, key) && !has {
			next := ""
			if i+1 < len(args) {
				next = args[i+1]
			}
			switch key {
			case "-n", "--lines": // the number may be left out
				if _, aerr := strconv.Atoi(strings.TrimPrefix(next, "+")); aerr == nil || next == "all" {
					val = next
					i++
				}
			case "-b", "--boot":
				if _, aerr := strconv.Atoi(next); aerr == nil || next == "all" {
					val = next
					i++
				}
			default:
				if i++; i >= len(args) {
					return j, nil, fmt.Errorf("option %s needs a value", key)
				}
				val = next
			}
		}
		note, err := j.option(key, val, now)
		if err != nil {
			return j, nil, err
		}
		if note != "" && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	if j.follow && j.n == 0 {
		j.n = 10
	}
	return j, notes, nil
}

func (j *journal) option(key, val string, now time.Time) (note string, err error) {
	switch key {
	case "-u", "--unit":
		j.names = append(j.names, val)
	case "-t", "--identifier":
		j.tags = append(j.tags, val)
	case "-f", "--follow":
		j.follow, j.noPager = true, true
	case "-e", "--pager-end":
		if j.n == 0 {
			j.n = 1000
		}
	case "-r", "--reverse":
		j.reverse = true
	case "-k", "--dmesg":
		j.kernel, j.boot = true, true
	case "-b", "--boot":
		switch val {
		case "", "0":
			j.boot = true
		case "all":
			j.boot = false
		default:
			return "", fmt.Errorf("-b %s: only this boot is told apart from the others; use --since and --until (atlas boot tells when it began)", val)
		}
	case "-n", "--lines":
		j.n = 10
		if val == "all" {
			j.n = 0
		} else if val != "" {
			if j.n, err = strconv.Atoi(strings.TrimPrefix(val, "+")); err != nil || j.n < 0 {
				return "", fmt.Errorf("-n %s: not a number of lines", val)
			}
		}
	case "-S", "--since":
		j.since, err = parseTime(val, now)
		return "", err
	case "-U", "--until":
		j.until, err = parseTime(val, now)
		return "", err
	case "-o", "--output":
		if !slices.Contains([]string{"short", "short-iso", "short-full", "short-precise", "cat"}, val) {
			return "", fmt.Errorf("-o %s: known are short, short-iso, short-precise, short-full and cat", val)
		}
		j.format = val
	case "-g", "--grep":
		if strings.ToLower(val) == val {
			val = "(?i)" + val
		}
		if j.grep, err = regexp.Compile(val); err != nil {
			return "", fmt.Errorf("--grep: %w", err)
		}
	case "-p", "--priority", "--facility":
		return noPriorities, nil
	case "--no-pager":
		j.noPager = true
	case "--no-hostname":
		j.noHostname = true
	case "-q", "--quiet":
		j.quiet = true
	case "-a", "--all", "-l", "--full", "--no-full", "-m", "--merge", "-x", "--catalog", "--system", "--no-tail", "--utc", "--case-sensitive", "--flush", "--sync":
	case "--rotate", "--vacuum-size", "--vacuum-time", "--vacuum-files":
		return "", fmt.Errorf("%s: the logs are files below /var/log; logrotate and init keep them small", key)
	case "--list-boots":
		return "", errors.New("--list-boots: boots are not told apart in the logs; `atlas boot` tells of this one")
	case "--user", "-D", "--directory", "--file", "--root", "-M", "--machine", "--verify", "--disk-usage":
		return "", fmt.Errorf("%s: there is no journal; the logs are files below /var/log", key)
	case "-h", "--help":
		return "", errors.New("usage: journalctl [-u SERVICE] [-t NAME] [-f] [-n N] [-e] [-r] [-b] [-k] [--since T] [--until T] [--grep RE] [-o short|short-iso|cat]")
	default:
		return "", fmt.Errorf("unknown option %s; see journalctl --help", key)
	}
	return "", nil
}

// parseTime reads the usual forms of systemd.time(7): "2026-11-20 10:00[:05]", "10:00", "today", "yesterday", "now", "-2h",
// "2 hours ago", "@1234567890".
func parseTime(s string, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch s {
	case "now":
		return now, nil
	case "today":
		return day, nil
	case "yesterday":
		return day.AddDate(0, 0, -1), nil
	}
	if rest, ok := strings.CutPrefix(s, "@"); ok {
		if n, err := strconv.ParseInt(rest, 10, 64); err == nil {
			return time.Unix(n, 0), nil
		}
	}
	for _, f := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.ParseInLocation(f, s, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, f := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(f, s, now.Location()); err == nil {
			return day.Add(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second), nil
		}
	}
	span, back := strings.CutSuffix(s, "ago")
	if rest, ok := strings.CutPrefix(span, "-"); ok {
		span, back = rest, true
	}
	if d, ok := parseSpan(span); ok && back {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time; try \"2026-11-20 10:00\", today, 10:00 or \"2 hours ago\"", s)
}

// parseSpan reads "2h", "1 hour 30 min".
func parseSpan(s string) (time.Duration, bool) {
	m := regexp.MustCompile(`([0-9]+) *([a-z]*)`).FindAllStringSubmatch(strings.TrimSpace(s), -1)
	if len(m) == 0 || strings.TrimSpace(regexp.MustCompile(`[0-9]+ *[a-z]*`).ReplaceAllString(s, "")) != "" {
		return 0, false
	}
	var d time.Duration
	for _, p := range m {
		n, err := strconv.Atoi(p[1])
		if err != nil {
			return 0, false
		}
		var size time.Duration
		switch strings.TrimSuffix(p[2], "s") {
		case "", "ec", "second": // "s" itself, too
			size = time.Second
		case "m", "min", "minute":
			size = time.Minute
		case "h", "hr", "hour":
			size = time.Hour
		case "d", "day":
			size = 24 * time.Hour
		case "w", "week":
			size = 7 * 24 * time.Hour
		default:
			return 0, false
		}
		d += time.Duration(n) * size
	}
	return d, true
}

func journalctl(ctx context.Context, h *Host, args []string) int {
	j, notes, err := parseJournal(args, h.Now())
	if err != nil {
		return h.fail(1, "journalctl: %v", err)
	}
	for _, n := range notes {
		if !j.quiet {
			h.fail(0, "%s", n)
		}
	}
	u, err := h.load(ctx)
	switch {
	case err == nil:
		for _, n := range u.expand(j.names) {
			f, err := u.find(n)
			if err != nil {
				return h.fail(1, "journalctl -u %s: no such service; systemctl list-units lists them", n)
			}
			j.units = append(j.units, f)
		}
		if j.boot && u.state.Started.After(j.since) {
			j.since = u.state.Started
		}
	case len(j.names) > 0 || j.boot:
		return h.fail(1, "journalctl: %s", words(err))
	}
	if j.kernel && !j.follow {
		if _, err := os.Stat(h.path("/var/log/kern.log")); err != nil {
			return h.fail(1, "journalctl -k: there is no /var/log/kern.log on this server; see dmesg")
		}
	}
	done := h.pager(&j)
	defer done()
	n, err := h.print(ctx, j)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, syscall.EPIPE):
		return 0
	case err != nil:
		return h.fail(1, "journalctl: %v", err)
	case n == 0 && !j.quiet && !j.follow:
		fmt.Fprintln(h.Out, "-- No entries --")
	}
	return 0
}

// pager sends the output of a person's call through less, as journalctl does.
func (h *Host) pager(j *journal) (done func()) {
	none := func() {}
	f, ok := h.Out.(*os.File)
	if !ok || j.noPager {
		return none
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return none
	}
	less, err := exec.LookPath("less")
	if err != nil {
		return none
	}
	args := []string{"-FRSXMK"}
	if j.n == 1000 { // -e
		args = append(args, "+G")
	}
	cmd := exec.Command(less, args...)
	cmd.Stdout, cmd.Stderr = f, os.Stderr
	w, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return none
	}
	h.Out = io.Writer(w)
	return func() {
		_ = w.Close()
		_ = cmd.Wait()
		h.Out = f
	}
}
