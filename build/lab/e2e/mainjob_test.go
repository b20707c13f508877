package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/ledger"
)

// TestMainJob is what ATLAS exists for: data written on the primary is served by the other server after the disk sets were
// swapped, at the same address and MAC, and is still there after swapping back.
func TestMainJob(t *testing.T) {
	s := use(t, "namespace", "vm")
	s.healthy(t, "left", "right")

	note := fmt.Sprintf("order %d for Miller", time.Now().UnixNano())
	s.addNote(t, note)
	s.putFile(t, "letter.txt", note)
	mac := s.serviceMAC(t)
	if mac == "" {
		t.Fatal("the client has no neighbour entry for the service address")
	}

	for i, order := range [][2]string{{"right", "left"}, {"left", "right"}} {
		s.off(t, "left", "right")
		s.must(t, time.Minute, "swap", "left", "right")
		began := time.Now()
		s.on(t, "left", "right")
		s.healthy(t, order[0], order[1])
		t.Logf("swap %d: power-on to every probe good on both servers: %.0f s", i+1, time.Since(began).Seconds())
		t.Logf("boot of %s, by phase:\n%s", order[0], s.exec(t, order[0], "atlas", "boot"))
		s.swapKept(t, order[0], order[1])
		s.hasNote(t, note)
		if got := s.getFile(t, "letter.txt"); got != note {
			t.Errorf("after swap %d the share has %q in letter.txt; want %q", i+1, got, note)
		}
		if got := s.serviceMAC(t); got != mac {
			t.Errorf("after swap %d the service address has MAC %s; want %s as before", i+1, got, mac)
		}
		s.follows(t, order[0], order[1], fmt.Sprintf("swap %d", i+1))
	}
}

// swapKept: the ledger on the set of the new primary, and what the other server tells, has the swap with the time that it took.
func (s *site) swapKept(t *testing.T, primary, secondary string) {
	t.Helper()
	for _, server := range []string{primary, secondary} {
		eventually(t, "the ledger that "+server+" shows has the swap", 2*time.Minute, func() error {
			var list []ledger.Entry
			if err := json.Unmarshal([]byte(s.exec(t, server, "atlas", "ledger", "--json")), &list); err != nil {
				return err
			}
			for _, e := range list {
				if e.Server == primary && e.Swap() {
					if !e.Good || e.From != secondary || e.Role != "primary" || e.Took == 0 || len(e.Seen) != 2 {
						return fmt.Errorf("%w: %+v", errNotYet, e)
					}
					t.Logf("%s tells: %s: %s", server, e.What(), e.Result())
					return nil
				}
			}
			return fmt.Errorf("%w in %d entries", errNotYet, len(list))
		})
	}
}

// healthy waits until the servers have their roles, all their services, and the page says that a swap would work.
func (s *site) healthy(t *testing.T, primary, secondary string) {
	t.Helper()
	s.serving(t, primary, secondary)
	limit := 3 * time.Minute
	if s.kind == "vm" { // an emulated server that has just started is slow to prove all, from both
		limit = 8 * time.Minute
	}
	for _, address := range []string{"10.7.0.11", "10.7.0.12"} {
		eventually(t, "the page of "+address+" says ready", limit, func() error { return s.readiness(t, address) })
	}
}

// serving waits until the servers have their roles and all their services.
func (s *site) serving(t *testing.T, primary, secondary string) {
	t.Helper()
	s.wait(t, primary, "primary")
	s.wait(t, secondary, "secondary")
	s.wait(t, primary, "ready")
	s.wait(t, secondary, "ready")
	// Tests change much, and do not expect that services of the secondary are stopped a while later: rehearsals come on order only.
	for _, server := range []string{primary, secondary} {
		s.exec(t, server, "touch", "/run/atlas/no-rehearsal")
	}
}

func (s *site) readiness(t *testing.T, address string) error {
	t.Helper()
	var page struct {
		Readiness struct {
			Ready   bool `json:"ready"`
			Reasons []struct {
				Text string `json:"text"`
			} `json:"reasons"`
		} `json:"readiness"`
	}
	if err := s.api(t, address, &page); err != nil {
		return err
	}
	for i := 0; s.mixed && i < len(page.Readiness.Reasons); i++ {
		// On the newer release data have another form now: the way back would lose what was written since, or has set it aside. Both are told until
		// somebody confirms.
		text := page.Readiness.Reasons[i].Text
		if strings.Contains(text, "would be there as it was on") || strings.Contains(text, "works with its data as they were on") {
			page.Readiness.Reasons = slices.Delete(page.Readiness.Reasons, i, i+1)
			i--
		}
	}
	if !page.Readiness.Ready && (!s.mixed || len(page.Readiness.Reasons) > 0) {
		return fmt.Errorf("%w ready: %v", errNotYet, page.Readiness.Reasons)
	}
	return nil
}

func (s *site) addNote(t *testing.T, text string) {
	t.Helper()
	s.client(t, "curl", "-sSf", "-m", "30", "-o", "/dev/null", "--data-urlencode", "text="+text, "http://"+serviceAddress+"/notes/")
}

func (s *site) notes(t *testing.T) string {
	t.Helper()
	return s.client(t, "curl", "-sSf", "-m", "30", "http://"+serviceAddress+"/notes/?format=text")
}

func (s *site) hasNote(t *testing.T, text string) {
	t.Helper()
	if got := s.notes(t); !strings.Contains(got, text) {
		t.Errorf("the notes page does not have %q; it has:\n%s", text, tail(got, 20))
	}
}

func (s *site) putFile(t *testing.T, name, content string) {
	t.Helper()
	s.client(t, "sh", "-c", fmt.Sprintf("printf %%s '%s' >/tmp/put.$$ && smbclient //%s/office -U 'admin%%%s' -c 'put /tmp/put.'$$' %s'; r=$?; rm -f /tmp/put.$$; exit $r", content, serviceAddress, s.admin, name))
}

func (s *site) getFile(t *testing.T, name string) string {
	t.Helper()
	return s.client(t, "sh", "-c", fmt.Sprintf("smbclient //%s/office -U 'admin%%%s' -c 'get %s /tmp/get.'$$ >/dev/null 2>&1 && cat /tmp/get.$$; r=$?; rm -f /tmp/get.$$; exit $r", serviceAddress, s.admin, name))
}

var macPattern = regexp.MustCompile(`([0-9a-f]{2}:){5}[0-9a-f]{2}`)

// serviceMAC asks the network, not a cache, who has the service address.
func (s *site) serviceMAC(t *testing.T) string {
	t.Helper()
	return macPattern.FindString(s.client(t, "sh", "-c", "ip neigh flush to "+serviceAddress+"; curl -s -m 10 -o /dev/null http://"+serviceAddress+"/; ip neigh show to "+serviceAddress))
}

// TestTwinIsSilent: a client reaches no service on the secondary, and the service address answers once only.
func TestTwinIsSilent(t *testing.T) {
	s := use(t, "namespace", "vm")
	s.healthy(t, "left", "right")
	reaches := func(address, port string) bool {
		_, err := s.lab(time.Minute, "client", "--", "timeout", "5", "bash", "-c", "exec 3<>/dev/tcp/"+address+"/"+port)
		return err == nil
	}
	for _, port := range []string{"80", "445", "3306"} {
		if !reaches(serviceAddress, port) {
			t.Errorf("a client does not reach port %s at the service address", port)
		}
		if reaches("10.7.0.12", port) {
			t.Errorf("a client reaches port %s of the secondary", port)
		}
	}
	if !reaches("10.7.0.12", "8443") {
		t.Error("a client does not reach the secondary's page")
	}
	out := s.client(t, "sh", "-c", "dev=$(ip -o -4 addr show to 10.7.0.100 | awk '{print $2}'); arping -c 3 -i $dev "+serviceAddress+" || arping -c 3 -I $dev "+serviceAddress)
	macs := map[string]bool{}
	for _, m := range macPattern.FindAllString(strings.ToLower(out), -1) {
		macs[m] = true
	}
	if len(macs) != 1 {
		t.Errorf("%d MAC addresses answer for the service address; want 1:\n%s", len(macs), out)
	}
}
