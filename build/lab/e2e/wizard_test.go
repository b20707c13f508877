package e2e

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/build/lab"
)

// typist answers questions on a serial console.
type typist struct {
	t    *testing.T
	conn net.Conn
	seen strings.Builder
	at   int
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)

// expect reads until text has appeared after what was expected before.
func (y *typist) expect(text string, timeout time.Duration) {
	y.t.Helper()
	buf := make([]byte, 4096)
	_ = y.conn.SetReadDeadline(time.Now().Add(timeout))
	for {
		clean := escapes.ReplaceAllString(y.seen.String(), "")
		if i := strings.Index(clean[min(y.at, len(clean)):], text); i >= 0 {
			y.at += i + len(text)
			return
		}
		n, err := y.conn.Read(buf)
		y.seen.Write(buf[:n])
		if err != nil {
			y.t.Fatalf("the console did not show %q: %v\n%s", text, err, tail(clean, 40))
		}
	}
}

func (y *typist) answer(question, text string) {
	y.t.Helper()
	y.expect(question, 4*time.Minute)
	if _, err := fmt.Fprintf(y.conn, "%s\r", text); err != nil {
		y.t.Fatal(err)
	}
}

// TestWizard installs the first server of a site by answering the wizard on its serial console, and boots it.
func TestWizard(t *testing.T) {
	shared := use(t, "vm")
	s := shared.another(t)
	s.must(t, time.Minute, "stick", "none")
	s.must(t, time.Minute, "power", "on", "--stick", "left")

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	l, err := lab.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := l.Server(ctx, "left")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := machine.Console(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	y := &typist{t: t, conn: conn}
	y.answer("Press Enter to install here.", "")
	y.answer("Found a new site, or join one?", "new")
	y.answer("Name of this server", "left")
	y.answer("System disk (number)", "LAB-LSYS")
	y.answer("Disks of the set", "LAB-L1 LAB-L2")
	y.answer("RAID level", "raid1")
	y.answer("Role of the set", "primary")
	y.answer("Name of the site", "Miller Dental")
	y.answer("Management address of this server", "10.7.0.11/24")
	y.answer("Gateway (or none)", "10.7.0.1")
	y.answer("DNS servers (or none)", "none")
	y.answer("Service address", "10.7.0.10/24")
	y.answer("Gateway of the service address", "none")
	y.answer("DNS servers of the services", "none")
	y.answer("Host name that clients use", "office")
	y.answer("DNS domain of the office", "office.example")
	s.admin = "correct horse 7"
	y.answer("Administrator's password:", s.admin)
	y.answer("The same again:", s.admin)
	y.answer("Type install to begin", "install")
	y.expect("Installed. This was done:", 15*time.Minute)
	y.expect("Join code for the next server", time.Minute)
	y.expect("Remove the install stick", time.Minute)
	t.Logf("what the installer said it did:\n%s", tail(escapes.ReplaceAllString(y.seen.String(), ""), 24))
	s.must(t, time.Minute, "power", "cut", "left")

	s.must(t, time.Minute, "power", "on", "left")
	s.wait(t, "left", "primary")
	s.wait(t, "left", "ready")
	s.addNote(t, "installed by hand")
	s.hasNote(t, "installed by hand")
	var st siteState
	if err := s.api(t, "10.7.0.11", &st); err != nil {
		t.Errorf("login with the password given to the wizard: %v", err)
	}
}
