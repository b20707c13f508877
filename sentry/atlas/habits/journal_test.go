package habits

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/initapi"
)

type deadInit struct{ err error }

func (d deadInit) State(context.Context) (initapi.State, error)      { return initapi.State{}, d.err }
func (d deadInit) Service(context.Context, string, string) error     { return d.err }
func (d deadInit) Power(context.Context, initapi.PowerRequest) error { return d.err }
func brokenInit(*testing.T) Init {
	return deadInit{errors.Join(errors.New("ask init"), fs.ErrNotExist)}
}

// logs writes a server's log files.
func (r *rig) logs(t *testing.T) {
	t.Helper()
	write(t, r.path("/var/log/atlas/cron.log"), "2026-11-20T10:00:01.000Z crond: (CRON) INFO\n2026-11-20T10:00:02.000Z atd: atd started\n2026-11-20T10:00:02.500Z make the spool: made\n")
	write(t, r.path("/var/log/atlas/init.log"), "2026-11-20T10:00:00.000Z init: level=INFO msg=\"process failed\" service=cron process=atd err=x\n2026-11-20T10:00:00.500Z init: level=INFO msg=other service=apache\n")
	write(t, r.path("/var/log/atlas/apache.log"), "2026-11-20T10:00:05.000Z apache2: resuming\nnot a line of ours\n")
	write(t, r.path("/var/log/syslog"), "2026-11-20T10:00:03.000000+00:00 office CRON[77]: (root) CMD (true)\n2026-11-20T10:00:04.000000+00:00 office postfix/smtpd[78]: connect\n")
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte("2026-11-19T09:00:00.000000+00:00 office CRON[5]: yesterday\n"))
	_ = w.Close()
	write(t, r.path("/var/log/syslog.2.gz"), z.String())
	old := time.Date(2026, 11, 19, 9, 0, 0, 0, time.UTC)
	if err := os.Chtimes(r.path("/var/log/syslog.2.gz"), old, old); err != nil {
		t.Fatal(err)
	}
	write(t, r.path("/var/log/kern.log"), "2026-11-20T09:59:00.000000+00:00 office kernel: of the boot before\n2026-11-20T10:00:06.000000+00:00 office kernel: md0: active\n")
}

func TestJournal(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-u cron", "level=INFO msg=\"process failed\" service=cron process=atd err=x,(CRON) INFO,atd started,made,(root) CMD (true),yesterday first"},
		{"-u atd", "level=INFO msg=\"process failed\" service=cron process=atd err=x,atd started,made"},
		{"-u postfix", "connect"},
		{"-u apache2", "level=INFO msg=other service=apache,resuming"},
		{"-u apache2 -r", "resuming,level=INFO msg=other service=apache"},
		{"-n 1", "resuming"},
		{"-n1 --until 2026-11-20T10:00:04Z", "connect"},
		{"-b -t CRON", "(root) CMD (true)"},
		{"-k", "md0: active"},
		{"--grep cmd", "(root) CMD (true)"},
		{"-u cron --since 2026-11-20T10:00:02Z --until 2026-11-20T10:00:02Z", "atd started"},
	} {
		r := newRig(t)
		r.logs(t)
		code := r.do("journalctl -o cat " + c.args)
		want := strings.Split(c.want, ",")
		if want[len(want)-1] == "yesterday first" {
			want = append([]string{"yesterday"}, want[:len(want)-1]...)
		}
		got := strings.Split(strings.TrimSpace(r.out.String()), "\n")
		if diff := cmp.Diff(want, got); code != 0 || diff != "" {
			t.Errorf("journalctl %s = %d (-want +got):\n%s%s", c.args, code, diff, &r.err)
		}
	}
}

func TestJournalLine(t *testing.T) {
	e, ok := parseEntry("2026-11-20T10:00:03.123456+00:00 office sshd[9]: Accepted: yes", true)
	if !ok || e.tag != "sshd[9]" || e.name() != "sshd" || e.text != "Accepted: yes" {
		t.Fatalf("parseEntry = %+v, %v", e, ok)
	}
	stamp := e.at.Local().Format("Jan 02 15:04:05")
	if got, want := e.line(journal{}, "office"), stamp+" office sshd[9]: Accepted: yes\n"; got != want {
		t.Errorf("line = %q; want %q", got, want)
	}
}

func TestFollow(t *testing.T) {
	r := newRig(t)
	r.logs(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := make(chan string, 10)
	r.Out = lines(out)
	done := make(chan int)
	go func() { done <- r.Run(ctx, "journalctl", []string{"-o", "cat", "-f", "-u", "apache2", "-n", "1"}) }()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-out:
			if got != want+"\n" {
				t.Errorf("followed %q; want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q does not come", want)
		}
	}
	expect("resuming")
	name := r.path("/var/log/atlas/apache.log")
	appendTo(t, name, "2026-11-20T10:00:06.000Z apache2: more\n2026-11-20T10:00:07.000Z apache2: hal")
	expect("more")
	appendTo(t, name, "f\n")
	expect("half")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, name, "2026-11-20T10:00:08.000Z apache2: rotated\n")
	expect("rotated")
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("journalctl -f = %d", code)
	}
}

type lines chan string

func (l lines) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]string{
		"now": "2026-11-20T12:00:00Z", "today": "2026-11-20T00:00:00Z", "yesterday": "2026-11-19T00:00:00Z", "-2h": "2026-11-20T10:00:00Z",
		"1 hour 30 min ago": "2026-11-20T10:30:00Z", "90s ago": "2026-11-20T11:58:30Z", "10:15": "2026-11-20T10:15:00Z", "2026-11-01": "2026-11-01T00:00:00Z",
		"2026-11-01 08:00": "2026-11-01T08:00:00Z", "1 day ago": "2026-11-19T12:00:00Z", "@0": "1970-01-01T00:00:00Z",
		"tea time": "", "2h": "", "5 fortnights ago": "", "-": "", "": "",
	} {
		got, err := parseTime(s, now)
		if want == "" {
			if err == nil {
				t.Errorf("parseTime(%q) = %s; want an error", s, got)
			}
			continue
		}
		if err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("parseTime(%q) = %s, %v; want %s", s, got, err, want)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add("2026-11-20T10:00:03.123456+00:00 office sshd[9]: Accepted", true)
	f.Fuzz(func(t *testing.T, line string, sys bool) {
		e, ok := parseEntry(line, sys)
		if ok && !strings.Contains(line, e.text) {
			t.Errorf("parseEntry(%q) made up %q", line, e.text)
		}
		_ = e.name()
	})
}
