package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// soakLoad is what the office does meanwhile, a few times a second.
const soakLoad = `n=0
while [ ! -e /tmp/soak.end ]; do
	n=$((n + 1))
	for i in 1 2 3 4 5; do curl -s -m 10 -o /dev/null http://10.7.0.10/atlas-verify/static.txt; done
	curl -sk -m 10 -o /dev/null https://10.7.0.10/notes/
	if [ $((n % 5)) = 0 ]; then
		head -c 300000 /dev/urandom >/tmp/soak.put
		smbclient //10.7.0.10/office -U "admin%$1" -c 'put /tmp/soak.put soak.bin; get soak.bin /tmp/soak.get' >/dev/null 2>&1 && cmp -s /tmp/soak.put /tmp/soak.get && echo files >>/tmp/soak.did
	fi
	echo pages >>/tmp/soak.did
	sleep 0.3
done`

// TestSoakUnderLoad has clients work while one packet in a hundred gets lost in bursts, for as long as ATLAS_SOAK says: nobody is alarmed, and the
// verdict stays yes.
func TestSoakUnderLoad(t *testing.T) {
	p := use(t, "namespace").pair(t)
	length, err := time.ParseDuration(cmpOr(os.Getenv("ATLAS_SOAK"), "40s"))
	if err != nil {
		t.Fatalf("ATLAS_SOAK: %v", err)
	}
	p.readyBoth(t)
	p.quiet(t)
	time.Sleep(5 * time.Second) // what a test before has changed may still have services started anew
	known := p.readyBoth(t)
	w := p.startWriter("soak")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p.client(t, "rm", "-f", "/tmp/soak.end", "/tmp/soak.did")
	var wg sync.WaitGroup
	wg.Go(func() {
		cmd := exec.CommandContext(ctx, p.bin, "lab", "--dir", p.dir, "client", "--", "sh", "-c", soakLoad, "sh", p.admin)
		_ = cmd.Run() // what it did is counted
	})
	servers := []string{p.primary, p.secondary}
	lossy := false
	burst := func(on bool) {
		if on == lossy {
			return
		}
		lossy = on
		for _, server := range servers {
			script := "unblock"
			if on {
				script = "lossy 1"
			}
			p.script(t, drill{}, server, script)
		}
	}
	told := map[string]bool{}
	began := time.Now()
	looks, bursts := 0, 0
	for time.Since(began) < length {
		in := time.Since(began) % (90 * time.Second)
		if on := in >= 10*time.Second && in < 40*time.Second; on != lossy {
			burst(on)
			bursts++
		}
		for _, server := range servers {
			site, err := p.told(server)
			if err != nil {
				t.Errorf("after %v: %v", time.Since(began).Round(time.Second), err)
				continue
			}
			looks++
			for _, r := range site.Readiness.Reasons {
				if id := server + " " + r.ID; !told[id] {
					told[id] = true
					t.Errorf("after %v %s says %s: %s: %s %s", time.Since(began).Round(time.Second), server, site.Readiness.Verdict, r.ID, r.Text, r.Evidence)
				}
			}
			for _, f := range site.Findings {
				if id := server + " " + f.ID; f.Severity == "critical" && !known[f.ID] && !told[id] {
					told[id] = true
					t.Errorf("after %v %s tells %s: %s", time.Since(began).Round(time.Second), server, f.ID, f.What)
				}
			}
		}
		time.Sleep(time.Second)
	}
	burst(false)
	p.client(t, "touch", "/tmp/soak.end")
	wg.Wait()
	acked, failed := w.end()
	did := p.client(t, "sh", "-c", "sort /tmp/soak.did | uniq -c")
	p.hasAll(t, acked[max(0, len(acked)-900):]) // the page lists a thousand at most
	t.Logf("%v: judged %d times, %d bursts of loss; %d notes acknowledged, %d requests failed; %s", length, looks, (bursts+1)/2, len(acked), failed, strings.Join(strings.Fields(did), " "))
}
