package devlog

import (
	"context"
	"fmt"
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
	lines := make(chan string, 2*perSecond)
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, path, func(pid int, text string, b []byte) { lines <- fmt.Sprintf("%d %s %s", pid, text, b) })
	}()
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
	if got := <-lines; !strings.HasPrefix(got, fmt.Sprint(os.Getpid(), " tag: one ")) || !strings.HasSuffix(got, " info: tag: one\n") {
		t.Errorf("line %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
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
