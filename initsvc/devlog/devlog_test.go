package devlog

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]Message{
		"<30>Nov 22 10:00:00 sshd[12]: hello\n": {Facility: 3, Severity: 6, Text: "sshd[12]: hello"},
		"<11>slapd[1]: no time\x00":             {Facility: 1, Severity: 3, Text: "slapd[1]: no time"},
		"plain":                                 {Facility: 1, Severity: 5, Text: "plain"},
		"<999>x":                                {Facility: 1, Severity: 5, Text: "<999>x"},
		"<-1>x":                                 {Facility: 1, Severity: 5, Text: "<-1>x"},
		"<13":                                   {Facility: 1, Severity: 5, Text: "<13"},
		"<13>\x1b[31mred":                       {Facility: 1, Severity: 5, Text: "[31mred"},
		"":                                      {Facility: 1, Severity: 5},
	} {
		if d := cmp.Diff(want, Parse([]byte(in))); d != "" {
			t.Errorf("Parse(%q): %s", in, d)
		}
	}
}

func TestServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	ctx, cancel := context.WithCancel(context.Background())
	lines := make(chan Message, 2*perSecond)
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, path, func(m Message) { lines <- m }) }()
	var c net.Conn
	var err error
	for range 100 {
		if c, err = net.Dial("unixgram", path); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("<30>tag: one")); err != nil {
		t.Fatal(err)
	}
	got := <-lines
	if line := string(got.Line("office")); got.Severity != 6 || got.PID != os.Getpid() || !strings.HasSuffix(line, " office tag: one\n") || got.At.IsZero() {
		t.Errorf("line %q of %d", line, got.PID)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestFiles(t *testing.T) {
	for in, want := range map[string][]string{
		"<4>kernel: x":     {"syslog", "kern.log"},
		"<22>postfix: x":   {"syslog", "mail.log"},
		"<38>sshd: x":      {"auth.log"},
		"<86>su: x":        {"auth.log"},
		"<78>CRON[1]: x":   {"syslog", "cron.log"},
		"<30>slapd: x":     {"syslog"},
		"<133>local0: x":   {"syslog"},
		"without a number": {"syslog", "user.log"},
	} {
		if d := cmp.Diff(want, Parse([]byte(in)).Files()); d != "" {
			t.Errorf("Files of %q: %s", in, d)
		}
	}
}

func TestParseKernel(t *testing.T) {
	booted := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for in, want := range map[string]record{
		"6,339,5140900,-;NET: Registered PF_INET\n DEVICE=+x\n": {339, Message{Severity: 6, At: booted.Add(5140900 * time.Microsecond), Text: "kernel: NET: Registered PF_INET"}},
		"30,340,0,-,caller=T1;init[1]: up":                      {340, Message{Facility: 3, Severity: 6, At: booted, Text: "init[1]: up"}},
		"no record":                                             {},
		"x,1,2;y":                                               {},
	} {
		got, ok := parseKernel([]byte(in), booted)
		if d := cmp.Diff(want, got, cmp.AllowUnexported(record{})); d != "" || ok != (want.msg.Text != "") {
			t.Errorf("parseKernel(%q), %v: %s", in, ok, d)
		}
	}
}

func FuzzParseKernel(f *testing.F) {
	f.Add([]byte("6,339,5140900,-;NET"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := parseKernel(b, time.Now()); ok && strings.ContainsAny(r.msg.Text, "\n\x1b") {
			t.Errorf("parseKernel(%q) = %+v", b, r)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("<30>Nov 22 10:00:00 a: b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := Parse(b)
		if m.Severity < 0 || m.Severity > 7 || strings.ContainsAny(m.Text, "\n\x1b") {
			t.Errorf("Parse(%q) = %+v", b, m)
		}
	})
}
