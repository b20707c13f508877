package e2e

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
	"time"
)

const adDomain = "ad.office.example"

//go:embed testdata/ad-join.sh
var adJoin string

// TestActiveDirectory: a computer joins the domain and a user logs in, at addresses found by the domain's name service alone. Both
// are known to the other server after the disk sets were swapped; a wrong password is not taken, and a killed controller comes back.
func TestActiveDirectory(t *testing.T) {
	s := use(t, "namespace", "vm")
	s.serving(t, "left", "right")
	t.Cleanup(func() { s.restoreServices(t) })
	s.enable(t, "left", "right", "addc")
	s.healthy(t, "left", "right")
	if left, right := s.domainSID(t, "left"), s.domainSID(t, "right"); left != right {
		t.Errorf("domain SID %s on the primary, %s on the twin; want the same", left, right)
	}
	user, password := fmt.Sprintf("user%d", time.Now().Unix()), "Zw-8-Birnen"
	s.exec(t, "left", "samba-tool", "user", "create", user, password, "-s", "/etc/samba/addc.conf")
	admin := strings.TrimSpace(s.exec(t, "left", "cat", "/etc/atlas/addc-admin.secret"))
	t.Log(s.ad(t, "join", adDomain, admin))
	sid := s.adLogin(t, password, user)
	if _, err := s.adTry("login", adDomain, "wrong-password", user); err == nil {
		t.Error("a wrong password was accepted")
	}

	// Its main process alone: what it leaves behind must go too, or the ports stay taken.
	pid := strings.TrimSpace(s.exec(t, "left", "cat", "/run/samba-ad/samba.pid"))
	s.exec(t, "left", "kill", "-9", pid)
	eventually(t, "the domain controller is back after kill -9", 2*time.Minute, func() error {
		_, err := s.adTry("login", adDomain, password, user)
		return err
	})

	for _, order := range [][2]string{{"right", "left"}, {"left", "right"}} {
		s.off(t, "left", "right")
		s.must(t, time.Minute, "swap", "left", "right")
		s.on(t, "left", "right")
		s.healthy(t, order[0], order[1])
		s.ad(t, "computer", adDomain)
		if got := s.adLogin(t, password, user); got != sid {
			t.Errorf("%s as primary knows %s by SID %s; want %s", order[0], user, got, sid)
		}
	}
}

func (s *site) adTry(args ...string) (string, error) {
	return s.lab(2*time.Minute, append([]string{"client", "--", "sh", "-c", adJoin, "ad-join.sh"}, args...)...)
}

func (s *site) ad(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.adTry(args...)
	if err != nil {
		t.Fatalf("client, %s: %v\n%s", args[0], err, tail(out, 30))
	}
	return out
}

// adLogin logs in and returns the user's SID as the directory tells it.
func (s *site) adLogin(t *testing.T, password, user string) string {
	t.Helper()
	out := s.ad(t, "login", adDomain, password, user)
	for line := range strings.Lines(out) {
		// In base64, as LDIF has what is no text.
		if sid, ok := strings.CutPrefix(line, "objectSid:: "); ok {
			return strings.TrimSpace(sid)
		}
	}
	t.Fatalf("the directory does not tell the SID of %s:\n%s", user, tail(out, 30))
	return ""
}

func (s *site) domainSID(t *testing.T, server string) string {
	t.Helper()
	out := s.exec(t, server, "ldbsearch", "-H", "/var/lib/samba-ad/private/sam.ldb", "-s", "base", "objectSid")
	for line := range strings.Lines(out) {
		if sid, ok := strings.CutPrefix(line, "objectSid: "); ok {
			return strings.TrimSpace(sid)
		}
	}
	t.Fatalf("%s has no domain SID:\n%s", server, tail(out, 10))
	return ""
}
