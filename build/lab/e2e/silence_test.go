package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// chatter makes a server try to reach the world in every way that services and people do. It is run on both servers: the primary's is
// the positive control. The job of cron lies on the disk set, as an administrator's would.
const chatter = `cd /tmp
cat >/etc/cron.d/e2e-chatter <<'X'
* * * * * root curl -s -m 5 http://10.7.0.1:81/; curl -s -g -m 5 'http://[fd07::1]:81/'
X
(command -v sendmail >/dev/null && printf 'Subject: out\n\nhello\n' | timeout 20 sendmail -f root 'e2e@[10.7.0.100]') || echo "no sendmail"
timeout 5 logger -n 10.7.0.1 -P 514 -d hello
timeout 5 getent hosts www.example.org
cat >/run/chatter.py <<'X'
import socket
def udp(family, to, port, source=None):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    try:
        if source: s.bind((source, 0))
        s.sendto(b"hello", (to, port))
    except OSError as e: print(to, port, source, e)
def tcp(family, to, port, source=None):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(2)
    try:
        if source: s.bind((source, 0))
        s.connect((to, port))
    except OSError as e: print(to, port, source, e)
def icmp(to, source=None):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    try:
        if source: s.bind((source, 0))
        s.sendto(bytes([8, 0, 0xf7, 0xfd, 0, 1, 0, 1]), (to, 0))
    except OSError as e: print("icmp", to, source, e)
for source in (None, "10.7.0.10"):
    for to, port in (("10.7.0.100", 53), ("10.7.0.100", 123), ("224.0.0.251", 5353), ("239.255.255.250", 1900), ("10.7.0.255", 137), ("255.255.255.255", 67), ("10.7.0.77", 9)):
        udp(socket.AF_INET, to, port, source)
    tcp(socket.AF_INET, "10.7.0.100", 443, source)
    tcp(socket.AF_INET, "10.7.0.1", 80, source)
    icmp("10.7.0.100", source)
for source in (None, "fd07::10"):
    for to, port in (("fd07::100", 53), ("ff02::fb%eth0", 5353), ("ff02::fb%svc0", 5353)):
        udp(socket.AF_INET6, to, port, source)
    tcp(socket.AF_INET6, "fd07::1", 80, source)
X
python3 /run/chatter.py
true`

// captureTime is how long the twin is listened to: a minute, so that each job of cron has run, or what ATLAS_CAPTURE says in seconds.
func captureTime(t *testing.T) time.Duration {
	t.Helper()
	n, err := strconv.Atoi(cmpOr(os.Getenv("ATLAS_CAPTURE"), "65"))
	if err != nil {
		t.Fatalf("ATLAS_CAPTURE: %v", err)
	}
	return time.Duration(n) * time.Second
}

// capture records what comes out of servers' cables at the switch while f runs and until d is over.
func (s *site) capture(t *testing.T, d time.Duration, servers []string, f func()) map[string][]frame {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string][]frame{}
	for _, server := range servers {
		wg.Go(func() {
			out, err := s.lab(d+time.Minute, "switch", "--", "sh", "-c",
				fmt.Sprintf("timeout %d tcpdump -Z root -nn -e -t -l -Q in -i %s0 2>/tmp/tcpdump.%s.err; cat /tmp/tcpdump.%s.err >&2; true", int(d.Seconds()), server, server, server))
			mu.Lock()
			defer mu.Unlock()
			if err != nil || !strings.Contains(out, "listening on") {
				t.Errorf("listen to %s: %v\n%s", server, err, tail(out, 5))
				return
			}
			if dir := os.Getenv("ATLAS_SHOTS"); dir != "" {
				_ = os.WriteFile(filepath.Join(dir, "sent-by-"+server+".txt"), []byte(out), 0o644) // for people
			}
			for line := range strings.Lines(out) {
				if strings.Contains(line, "ethertype ") || strings.Contains(line, ", 802.3") {
					got[server] = append(got[server], parseFrame(strings.TrimSpace(line)))
				}
			}
		})
	}
	time.Sleep(2 * time.Second) // tcpdump begins to listen
	f()
	wg.Wait()
	return got
}

// TestTwinSendsNothing listens at the switch while both servers try to reach the world in many ways. The primary does; its twin sends
// nothing but to its peer, and answers to whoever looks at its management ports.
func TestTwinSendsNothing(t *testing.T) {
	s := use(t, "namespace", "vm")
	s.serving(t, "left", "right")
	t.Cleanup(func() {
		for _, server := range []string{"left", "right"} {
			_, _ = s.lab(time.Minute, "exec", server, "--", "sh", "-c", "rm -f /etc/cron.d/e2e-chatter; postsuper -d ALL 2>/dev/null")
		}
	})
	d := captureTime(t)
	got := s.capture(t, d, []string{"left", "right"}, func() {
		var wg sync.WaitGroup
		for _, server := range []string{"left", "right"} {
			wg.Go(func() {
				if out, err := s.lab(3*time.Minute, "exec", server, "--", "sh", "-c", chatter); err != nil {
					t.Errorf("%s: %v\n%s", server, err, tail(out, 20))
				}
			})
		}
		wg.Wait()
	})
	t.Logf("in %v the primary sent %d frames, its twin %d", d, len(got["left"]), len(got["right"]))
	if len(got["right"]) == 0 {
		t.Error("nothing at all came from the twin, not even to its peer: the test has not listened")
	}

	breaches := map[string][]string{}
	for _, f := range got["right"] {
		if why := twin().breach(f); why != "" {
			breaches[why] = append(breaches[why], f.line)
		}
	}
	for why, lines := range breaches {
		t.Errorf("the twin must not: %s (%d frames), such as\n  %s", why, len(lines), lines[0])
	}

	// What the twin must not do, the primary does: so the attempts were real.
	for _, want := range []struct {
		what string
		is   func(frame) bool
	}{
		{"web request of a job by IPv4", func(f frame) bool { return f.syn && f.to == netip.MustParseAddrPort("10.7.0.1:81") }},
		{"web request of a job by IPv6", func(f frame) bool { return f.syn && f.to == netip.MustParseAddrPort("[fd07::1]:81") }},
		{"mail to an outside address", func(f frame) bool { return f.syn && f.to == netip.MustParseAddrPort("10.7.0.100:25") }},
		{"multicast DNS", func(f frame) bool { return f.to == netip.MustParseAddrPort("224.0.0.251:5353") }},
		{"broadcast", func(f frame) bool { return f.to == netip.MustParseAddrPort("10.7.0.255:137") }},
		{"remote log", func(f frame) bool { return f.to == netip.MustParseAddrPort("10.7.0.1:514") }},
		{"packet from the service address", func(f frame) bool {
			return f.from.Addr() == netip.MustParseAddr("10.7.0.10") && f.to.Addr() == netip.MustParseAddr("10.7.0.100")
		}},
	} {
		n := 0
		for _, f := range got["left"] {
			if want.is(f) {
				n++
			}
		}
		if n == 0 {
			t.Errorf("positive control: the primary has sent no %s", want.what)
		}
	}
	if queue, err := s.lab(time.Minute, "exec", "right", "--", "mailq"); err != nil || !strings.Contains(queue, "10.7.0.100") {
		t.Errorf("the mail to an outside address is not in the twin's queue any more (%v):\n%s", err, tail(queue, 10))
	}
}
