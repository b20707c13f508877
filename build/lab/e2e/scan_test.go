package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	openPort  = regexp.MustCompile(`(\d+)/open/(tcp|udp)/`)
	linkLayer = regexp.MustCompile(`link/ether ([0-9a-f:]{17})`)
	inet6     = regexp.MustCompile(`inet6 ([0-9a-f:]+)/`)
)

// scan looks at ports from the client and returns those that are open, as "22/tcp".
func (s *site) scan(t *testing.T, args ...string) []string {
	t.Helper()
	out := s.must(t, 12*time.Minute, slices.Concat([]string{"client", "--", "nmap", "-n", "-Pn", "--max-retries", "1", "-oG", "-"}, args)...)
	if !strings.Contains(out, "1 host up") && !strings.Contains(out, "# Nmap done") {
		t.Errorf("nmap %s did not scan:\n%s", strings.Join(args, " "), tail(out, 10))
	}
	var open []string
	for _, m := range openPort.FindAllStringSubmatch(out, -1) {
		open = append(open, m[1]+"/"+m[2])
	}
	return open
}

// TestTwinCannotBeReached scans ports of all addresses of the twin, IPv4 and IPv6, the service's among them, sent to its own network
// card. Only its management ports are open. The same scan finds the services of the primary.
func TestTwinCannotBeReached(t *testing.T) {
	s := use(t, "namespace", "vm")
	s.serving(t, "left", "right")
	management := []string{"22/tcp", "8443/tcp", "8444/tcp"}
	const fast = "--min-rate=3000"
	// Each port that is silent costs time: those of all services and of peers' packs, or with ATLAS_LONG all 65535.
	all := "-p1-2100,3268,3269,3306,3493,5353,5432,8000-9000,20000-20020,20048,20080,20443,20445,23306,30000-30009"
	if os.Getenv("ATLAS_LONG") != "" {
		all = "-p-"
	}
	want := []string{"80/tcp", "443/tcp", "445/tcp"}
	if open := s.scan(t, "-sS", "-p", "22,80,443,445,8443,8444", "10.7.0.10"); !slices.Equal(open, want) {
		t.Errorf("positive control: at the service address the primary has %v open; want %v", open, want)
	}
	if open := s.scan(t, "-6", "-sS", "-p", "80,443", "fd07::10"); !slices.Equal(open, want[:2]) {
		t.Errorf("positive control: at the IPv6 service address the primary has %v open; want %v", open, want[:2])
	}
	for _, address := range []string{"10.7.0.11", "10.7.0.12"} {
		if open := s.scan(t, "-sS", all, fast, address); !slices.Equal(open, management) {
			t.Errorf("%s has %v open to a client; want %v", address, open, management)
		}
	}
	if open := s.scan(t, "-sU", "--top-ports", "50", "10.7.0.12"); len(open) > 0 {
		t.Errorf("the twin has %v open", open)
	}

	// Its service addresses, which it announces to nobody: the client is told that they are at the twin's card.
	card := linkLayer.FindStringSubmatch(s.exec(t, "right", "ip", "link", "show", "eth0"))
	if card == nil {
		t.Fatal("the twin has no network card eth0")
	}
	addresses := []string{"10.7.0.10", "10.7.0.20", "fd07::10"}
	for _, m := range inet6.FindAllStringSubmatch(s.exec(t, "right", "ip", "-6", "addr"), -1) {
		if m[1] != "::1" && !slices.Contains(addresses, m[1]) {
			addresses = append(addresses, m[1])
		}
	}
	for _, address := range addresses {
		s.client(t, "ip", "neigh", "replace", address, "lladdr", card[1], "dev", "eth0")
		t.Cleanup(func() { _, _ = s.lab(time.Minute, "client", "--", "ip", "neigh", "del", address, "dev", "eth0") })
		args := []string{"-sS", all, fast, address}
		if strings.Contains(address, ":") {
			args = []string{"-6", "-sS", all, fast, address}
		}
		if strings.HasPrefix(address, "fe80") {
			args[len(args)-1] += "%eth0"
		}
		if open := s.scan(t, args...); len(open) > 0 {
			t.Errorf("the twin answers at %s: %v", address, open)
		}
	}
}
