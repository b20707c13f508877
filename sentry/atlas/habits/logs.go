package habits

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
)

// entry is one line of a log: of init and its services ("TIME name: text") or of syslog ("TIME host tag[pid]: text").
type entry struct {
	at   time.Time
	tag  string // with [pid], if known
	text string
}

// parseEntry reads a line; sys tells that it is of syslog's files. Lines without a time go with the one before: ok is false.
func parseEntry(line string, sys bool) (entry, bool) {
	stamp, rest, ok := strings.Cut(line, " ")
	if !ok {
		return entry{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return entry{}, false
	}
	if sys {
		if _, rest, ok = strings.Cut(rest, " "); !ok {
			return entry{}, false
		}
	}
	tag, text, ok := strings.Cut(rest, ": ")
	if !ok {
		return entry{at: t, text: rest}, true
	}
	return entry{t, tag, text}, true
}

// name is the tag without process ID and without what Postfix and others put behind a slash.
func (e entry) name() string {
	if i := strings.IndexAny(e.tag, "[/"); i >= 0 {
		return e.tag[:i]
	}
	return e.tag
}

// source is one log with its rotated files.
type source struct {
	path string
	sys  bool
	keep func(entry) bool
}

// files are the source's, oldest first; those that ended before since are left out.
func (s source) files(since time.Time) []string {
	type file struct {
		name string
		mod  time.Time
	}
	var found []file
	names, _ := filepath.Glob(s.path + "*")
	for _, n := range names {
		rest := strings.TrimSuffix(strings.TrimPrefix(n, s.path), ".gz")
		if rest != "" && strings.Trim(rest, ".-0123456789") != "" {
			continue
		}
		if st, err := os.Stat(n); err == nil && st.Mode().IsRegular() && !st.ModTime().Before(since) {
			found = append(found, file{n, st.ModTime()})
		}
	}
	slices.SortStableFunc(found, func(a, b file) int { return a.mod.Compare(b.mod) })
	out := make([]string, len(found))
	for i, f := range found {
		out[i] = f.name
	}
	return out
}

// read hands the entries of one file to each.
func (s source) read(r io.Reader, each func(entry)) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), 1<<20)
	for sc.Scan() {
		if e, ok := parseEntry(sc.Text(), s.sys); ok && (s.keep == nil || s.keep(e)) {
			each(e)
		}
	}
	return sc.Err()
}

func open(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil || !strings.HasSuffix(name, ".gz") {
		return f, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

// sources are the logs that j asks for.
func (h *Host) sources(j journal) []source {
	var out []source
	add := func(path string, sys bool, keep func(entry) bool) {
		out = append(out, source{h.path(path), sys, keep})
	}
	const atlas, early = "/var/log/atlas/", "/run/atlas/log/"
	switch {
	case j.kernel:
		add("/var/log/kern.log", true, nil)
		return out
	case len(j.units) > 0:
		var tags []func(entry) bool
		for _, u := range j.units {
			add(logOf(u), false, u.ownLine)
			tags = append(tags, u.syslogLine)
			about := func(e entry) bool { return u.initLine(e.text) }
			add(atlas+"init.log", false, about)
		}
		said := func(e entry) bool { return slices.ContainsFunc(tags, func(f func(entry) bool) bool { return f(e) }) }
		add("/var/log/syslog", true, said)
		add("/var/log/auth.log", true, said)
		return out
	}
	services, _ := filepath.Glob(h.path(atlas) + "/*.log")
	for _, s := range services {
		out = append(out, source{s, false, nil})
	}
	before, _ := filepath.Glob(h.path(early) + "/*.log")
	for _, s := range before {
		out = append(out, source{s, filepath.Base(s) == "syslog.log", nil})
	}
	add("/var/log/syslog", true, nil) // kern.log and the others are parts of it
	add("/var/log/auth.log", true, nil)
	return out
}

func logOf(u unit) string {
	return cmp.Or(u.svc.Log, "/var/log/atlas/"+u.svc.Name+".log")
}

// ownLine tells whether a line of the service's log belongs to the unit: not if it is another unit's process that wrote it.
func (u unit) ownLine(e entry) bool {
	if u.whole {
		return true
	}
	mine := func(p initapi.Process) bool { return p.Name == e.tag }
	return slices.ContainsFunc(u.procs, mine) || !slices.ContainsFunc(u.svc.Processes, mine)
}

// syslogLine tells whether a program of the unit said it: daemons are known by their names, units or processes, also with something
// behind (sshd-session, postfix/smtpd, CRON).
func (u unit) syslogLine(e entry) bool {
	tag := strings.ToLower(e.name())
	is := func(name string) bool {
		name = strings.ToLower(name)
		return tag == name || strings.HasPrefix(tag, name+"-")
	}
	if is(u.id) {
		return true
	}
	for _, p := range u.procs {
		if is(p.Name) || slices.ContainsFunc(p.Units, is) {
			return true
		}
	}
	return false
}

// initLine tells whether a line of init's own log is about the unit.
func (u unit) initLine(text string) bool {
	fields := strings.Fields(text)
	if !slices.Contains(fields, "service="+u.svc.Name) {
		return false
	}
	for _, f := range fields {
		if p, ok := strings.CutPrefix(f, "process="); ok {
			return slices.ContainsFunc(u.procs, func(q initapi.Process) bool { return q.Name == p })
		}
	}
	return true
}

// print shows what j asks for and returns how many lines that were.
func (h *Host) print(ctx context.Context, j journal) (int, error) {
	sources := h.sources(j)
	var all []entry
	take := func(e entry) {
		switch {
		case e.at.Before(j.since), !j.until.IsZero() && e.at.After(j.until):
		case len(j.tags) > 0 && !slices.Contains(j.tags, e.name()) && !slices.Contains(j.tags, e.tag):
		case j.grep != nil && !j.grep.MatchString(e.text):
		default:
			all = append(all, e)
		}
	}
	host, _ := os.Hostname()
	write := func() error {
		slices.SortStableFunc(all, func(a, b entry) int { return a.at.Compare(b.at) })
		if j.n > 0 && len(all) > j.n {
			all = all[len(all)-j.n:]
		}
		if j.reverse {
			slices.Reverse(all)
		}
		w := bufio.NewWriter(h.Out)
		for _, e := range all {
			_, _ = w.WriteString(e.line(j, host))
		}
		return w.Flush()
	}
	follow := make([]follower, len(sources))
	for i, s := range sources {
		for _, name := range s.files(j.since) {
			f, err := open(name)
			if err != nil {
				continue // rotated away meanwhile
			}
			err = s.read(f, take)
			if name == s.path {
				follow[i] = followed(f)
			}
			_ = f.Close()
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", name, err)
			}
		}
		if j.n > 0 && len(all) > 4*j.n+10000 { // keep what may be shown
			slices.SortStableFunc(all, func(a, b entry) int { return a.at.Compare(b.at) })
			all = slices.Clone(all[len(all)-j.n:])
		}
	}
	n := len(all)
	if err := write(); err != nil || !j.follow {
		return n, err
	}
	j.n = 0
	for {
		select {
		case <-ctx.Done():
			return n, ctx.Err()
		case <-time.After(h.Pause):
		}
		all = all[:0]
		for i, s := range sources {
			follow[i].more(s, take)
		}
		n += len(all)
		if err := write(); err != nil {
			return n, err
		}
	}
}

func (e entry) line(j journal, host string) string {
	t := e.at.Local()
	var stamp string
	switch j.format {
	case "cat":
		return e.text + "\n"
	case "short-iso":
		stamp = t.Format("2006-01-02T15:04:05-07:00")
	case "short-precise":
		stamp = t.Format("Jan 02 15:04:05.000000")
	case "short-full":
		stamp = t.Format("Mon 2006-01-02 15:04:05 MST")
	default:
		stamp = t.Format("Jan 02 15:04:05")
	}
	if !j.noHostname {
		stamp += " " + host
	}
	return stamp + " " + e.tag + ": " + e.text + "\n"
}

// follower remembers how far a growing file has been read.
type follower struct {
	st  fs.FileInfo
	off int64
}

func followed(f io.ReadCloser) follower {
	file, ok := f.(*os.File)
	if !ok {
		return follower{}
	}
	st, err := file.Stat()
	if err != nil {
		return follower{}
	}
	off, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return follower{}
	}
	return follower{st, off}
}

// more hands what has been added to each; a file that has been rotated away is begun anew.
func (f *follower) more(s source, each func(entry)) {
	st, err := os.Stat(s.path)
	if err != nil {
		return
	}
	if f.st == nil || !os.SameFile(st, f.st) || st.Size() < f.off {
		f.off = 0
	}
	f.st = st
	if st.Size() == f.off {
		return
	}
	file, err := os.Open(s.path)
	if err != nil {
		return
	}
	defer file.Close()
	buf := make([]byte, min(st.Size()-f.off, 4<<20))
	n, _ := file.ReadAt(buf, f.off)
	end := strings.LastIndexByte(string(buf[:n]), '\n') + 1 // whole lines
	f.off += int64(end)
	_ = s.read(strings.NewReader(string(buf[:end])), each)
}
