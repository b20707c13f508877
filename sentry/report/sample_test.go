package report

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
	"sayasystems.com/atlas/sentry/verify"
)

const samplePassword = "correct horse"

// sample is a Source with made-up servers.
type sample struct {
	make func(now time.Time) site.Site
	hash string
	code *peers.Offer
	hub  chan struct{}

	changes Changes // nil: none
}

func newSample(t testing.TB, mk func(time.Time) site.Site) *sample {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(samplePassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return &sample{make: mk, hash: string(h), hub: make(chan struct{}), changes: newFakeChanges()}
}

func (s *sample) Site() site.Site {
	st := s.make(time.Now())
	for _, v := range st.Servers {
		if v.Report != nil {
			st.Ledger = ledger.Merge(st.Ledger, v.Report.Ledger)
		}
	}
	return site.Judge(st)
}
func (s *sample) Admin() string { return s.hash }
func (s *sample) CurrentCode() (peers.Offer, bool) {
	if s.code == nil {
		return peers.Offer{}, false
	}
	return *s.code, true
}

func (s *sample) JoinCode(renew bool) (peers.Offer, error) {
	if s.code == nil || renew {
		c, err := peers.NewCode([]byte("certificate"))
		if err != nil {
			return peers.Offer{}, err
		}
		s.code = &peers.Offer{Code: c.String(), Expires: time.Now().Add(24 * time.Hour)}
	}
	return *s.code, nil
}

func (s *sample) Changes() (Changes, error) {
	if s.changes == nil {
		return nil, errors.New("changes are not followed while no disk set serves on this server")
	}
	return s.changes, nil
}

func (s *sample) Subscribe() (<-chan struct{}, func()) { return s.hub, func() {} }

type sampleServer struct {
	name, addr string
	role       roles.Role
	change     func(*site.Report)
	seen       time.Duration
	never      bool
}

var samplePacks = []struct{ name, title, probes string }{
	{"apache", "Web server", "Static page|PHP page from the database"},
	{"mariadb", "Database", "Row read and written in the database"},
	{"samba", "File shares", "File written, read and deleted on the share"},
}

func sampleSite(now time.Time, servers ...sampleServer) site.Site {
	s := site.Site{ID: "6a1b7b1e-0000-4000-8000-000000000001", Name: "Miller Dental", At: now, Server: servers[0].name}
	var names []string
	for _, v := range servers {
		names = append(names, v.name)
	}
	for i, v := range servers {
		out := site.Server{Name: v.name, ID: v.name, Address: v.addr, Self: i == 0, Seen: now.Add(-v.seen)}
		if v.seen > site.FreshFor {
			out.Error, out.ErrorAt = "ask "+v.name+": dial tcp "+v.addr+":8444: no route to host", out.Seen
		}
		if v.never {
			out.Seen, out.Error, out.ErrorAt = time.Time{}, "ask "+v.name+": dial tcp "+v.addr+":8444: connection refused", now.Add(-2*time.Minute)
			s.Servers = append(s.Servers, out)
			continue
		}
		r := sampleReport(now.Add(-v.seen), v, servers)
		r.Peers = names
		if v.change != nil {
			v.change(r)
		}
		out.Report = r
		s.Servers = append(s.Servers, out)
	}
	return s
}

func sampleReport(now time.Time, v sampleServer, servers []sampleServer) *site.Report {
	label := func(self int) *roles.Label {
		return &roles.Label{
			Set: "set-" + v.name, SiteName: "Miller Dental", Role: v.role, Level: roles.RAID1, Server: v.name, Self: self,
			Members: []roles.Member{{ID: "m1"}, {ID: "m2"}}, Generation: 17,
		}
	}
	up := strings.ToUpper(v.name[:1])
	st := &initapi.State{
		Server: v.name, State: initapi.Serving, Role: v.role, Ready: true, Version: "1.0.3", Release: "13", Slot: "a", SlotGood: true, DisksKnown: true,
		Set: &initapi.Set{ID: "set-" + v.name, Level: roles.RAID1, Generation: 17, SizeBytes: 478e9, FreeBytes: 391e9, Members: []initapi.MemberInfo{
			{Bay: 1, Serial: "S4NN0" + up + "1", State: "active"}, {Bay: 2, Serial: "S4NN0" + up + "2", State: "active"},
		}},
		Disks:     []roles.Disk{{Bay: 1, Serial: "S4NN0" + up + "1", Size: 480e9, Label: label(0)}, {Bay: 2, Serial: "S4NN0" + up + "2", Size: 480e9, Label: label(1)}},
		Addresses: initapi.Addresses{Management: v.addr + "/24", Service: "10.7.0.10/24", ServiceMAC: "02:a7:1a:50:00:01", Announced: v.role == roles.Primary},
		Started:   now.Add(-26 * time.Hour),
	}
	for _, p := range samplePacks {
		st.Services = append(st.Services, initapi.Service{Name: p.name, Title: p.title, State: "ready", Since: now.Add(-26 * time.Hour)})
	}
	st.Services = append(st.Services, initapi.Service{Name: "ssh", Title: "Remote login", State: "ready", Since: now.Add(-26 * time.Hour)})
	r := &site.Report{ID: v.name, Name: v.name, Address: v.addr, At: now, State: st, Sync: &state.Status{At: now, Role: string(v.role), InStep: v.role == roles.Secondary}}
	for _, t := range servers {
		if v.role == roles.Primary && t.name != v.name {
			r.Sync.Peers = append(r.Sync.Peers, state.Peer{Name: t.name, Up: true, Live: "c1", State: "in step", Report: now})
		}
	}
	sampleStarts(now, v, r)
	for _, p := range samplePacks {
		r.Packs = append(r.Packs, site.Service{Name: p.name, Title: p.title})
	}
	for k, t := range servers {
		for i, p := range samplePacks {
			for j, title := range strings.Split(p.probes, "|") {
				res := verify.Result{
					Observer: v.name, Target: t.name, Service: p.name, Probe: p.name + "-" + string(rune('0'+j)), Title: title, Status: verify.Pass,
					Evidence: "GET /: 200, 512 bytes", At: now.Add(-time.Duration(3+i+2*k) * time.Second), Since: now.Add(-26 * time.Hour),
					Duration: time.Duration(2+17*i+9*j+5*k) * time.Millisecond, Every: 15 * time.Second,
				}
				for n := range 12 {
					res.History = append(res.History, verify.Point{Status: verify.Pass, Duration: time.Duration(3+n%4+i) * time.Millisecond})
				}
				r.Probes = append(r.Probes, res)
			}
		}
		if t.name != v.name {
			r.Probes = append(r.Probes, verify.Result{
				Observer: v.name, Target: t.name, Service: "network", Probe: "ping", Title: "Ping", Minor: true, Status: verify.Pass,
				Evidence: t.addr + " answers in 0.3 ms", At: now, Duration: time.Millisecond, Every: 15 * time.Second,
			})
		}
	}
	r.Boot = &initapi.BootReport{
		Server: v.name, Version: "1.0.3", Started: now.Add(-26 * time.Hour), Firmware: 8200 * time.Millisecond, Kernel: 6100 * time.Millisecond,
		Total: 38700 * time.Millisecond, Outcome: string(v.role), Phases: []initapi.PhaseReport{
			{Name: "mounts", Duration: 120 * time.Millisecond, Result: "ok"},
			{Name: "devices", Duration: 3400 * time.Millisecond, Result: "ok"},
			{Name: "inventory", Duration: 900 * time.Millisecond, Result: "ok"},
			{Name: "network", Duration: 2100 * time.Millisecond, Result: "ok", Note: "eth0 " + v.addr},
			{Name: "labels", Duration: 300 * time.Millisecond, Result: "ok"},
			{Name: "peers", Duration: 1100 * time.Millisecond, Result: "ok"},
			{Name: "assemble", Duration: 1800 * time.Millisecond, Result: "ok"},
			{Name: "convert", Result: "skipped"},
			{Name: "services", Duration: 14200 * time.Millisecond, Result: "ok", Note: "3 ready"},
		},
	}
	return r
}

// The cases that the page must tell at a glance.
func samples() map[string]func(time.Time) site.Site {
	left := sampleServer{name: "left", addr: "10.7.0.11", role: roles.Primary}
	right := sampleServer{name: "right", addr: "10.7.0.12", role: roles.Secondary}
	out := map[string]func(time.Time) site.Site{
		"ready": func(now time.Time) site.Site { return sampleSite(now, left, right) },
		"three": func(now time.Time) site.Site {
			return sampleSite(now, left, right, sampleServer{name: "middle", addr: "10.7.0.13", role: roles.Secondary})
		},
		"secondary": func(now time.Time) site.Site { return sampleSite(now, right, left) },
		"held": func(now time.Time) site.Site {
			l, rt := left, right
			l.change = func(r *site.Report) {
				r.Sync.Held = &state.Held{
					Since: now.Add(-7 * time.Minute), Commit: commitID(5), Good: commitID(4), Service: "apache", Words: heldWords,
					Paths: []state.Path{"etc/apache2/sites-available/shop.conf", "etc/apache2/sites-enabled/shop.conf"},
				}
				r.Sync.Findings = []initapi.Finding{{
					ID: "sync-held", Severity: "warning", Since: now.Add(-7 * time.Minute), Where: "left",
					What: "A change is held back and not sent to the other servers: Web server does not take it (Invalid command 'DocumentRot').",
					Next: "Correct /etc/apache2/sites-available/shop.conf, or go back to the last good state: `atlas rollback --held`. To send it on as it is: `atlas release`.",
				}}
				p := &r.Sync.Peers[0]
				p.Behind, p.Since = 2, now.Add(-7*time.Minute)
			}
			return sampleSite(now, l, rt)
		},
		"apart": func(now time.Time) site.Site { // the primary's history was begun anew
			l := left
			l.change = func(r *site.Report) {
				p := &r.Sync.Peers[0]
				p.Apart, p.Behind, p.Since = true, 3, now.Add(-4*time.Minute)
				p.Err = "server right has change 42 (ab12cd0000) of this primary, which has only 3: it runs with an older state than before, or its history was begun anew"
				r.Sync.Findings = []initapi.Finding{{
					ID: "sync-history-damaged", Severity: "warning", Where: "left", News: true, Since: now.Add(-5 * time.Minute),
					What: "The history of changes could not be read any more: history is damaged: record 7 cannot be read.",
					Next: "A new history was begun with the files as they are. Another server does not follow the new one by itself: atlas resync. " +
						"When you have seen this: on left, atlas findings ack sync-history-damaged.",
				}}
			}
			return sampleSite(now, l, right)
		},
		"alone": func(now time.Time) site.Site { return sampleSite(now, left) },
		"degraded": func(now time.Time) site.Site {
			l := left
			l.change = func(r *site.Report) {
				r.State.Set.Degraded = true
				r.State.Set.Members[1].State = "missing"
				r.State.Disks = r.State.Disks[:1]
				r.State.Findings = []initapi.Finding{{ID: "set-degraded", Severity: "critical", What: "The disk in bay 2 (S4NN0L2) has left the set: pulled or failed.", Where: "bay 2", Next: "Put a new disk of at least 480 GB into bay 2. It is taken into the set by itself.", Since: now.Add(-4 * time.Minute)}}
			}
			rt := right
			rt.change = func(r *site.Report) {
				for i := range r.Probes {
					if p := &r.Probes[i]; p.Target == "left" && p.Service == "samba" {
						p.Status, p.Evidence, p.Next, p.Since = verify.Fail, "open share atlas-verify: no answer in time", "On left look at the file service: `atlas service list`, and its log.", now.Add(-3*time.Minute)
					}
				}
				r.State.Services[1].State, r.State.Services[1].Restarts, r.State.Services[1].Error, r.State.Ready = "failed", 4, "mariadbd: InnoDB: Unable to lock ./ibdata1", false
			}
			return sampleSite(now, l, rt)
		},
		"down": func(now time.Time) site.Site {
			l := left
			l.seen = 4 * time.Minute
			return sampleSite(now, right, l)
		},
		"hold": func(now time.Time) site.Site {
			l := left
			l.change = func(r *site.Report) {
				r.State.State, r.State.Role, r.State.Ready, r.State.Set, r.State.Services = initapi.Holding, "", false, nil, nil
				r.State.Addresses.Service = ""
				r.State.Disks[1].Label.Role, r.State.Disks[1].Label.Set, r.State.Disks[1].Label.Server = roles.Secondary, "set-right", "right"
				r.State.Reasons = []roles.Reason{{Code: "mixed", Text: "The disks in bay 1 and bay 2 belong to two different sets.", Next: "Take out the disk in bay 2 (secondary, last in right) and put the other primary disk in."}}
				r.Boot.Outcome = "holding"
				for i := range r.Probes {
					if r.Probes[i].Target == "left" && !r.Probes[i].Minor {
						r.Probes[i].Status, r.Probes[i].Evidence = verify.Skipped, "left is waiting for a disk set"
					}
				}
			}
			return sampleSite(now, l, sampleServer{name: "right", addr: "10.7.0.12", never: true})
		},
	}
	maps.Copy(out, startSamples(left, right))
	return out
}

// TestServeSamples serves the samples at ATLAS_PAGE (such as 127.0.0.1:9000; /ready/, /alone/ and so on) until the test is stopped: to look at them.
func TestServeSamples(t *testing.T) {
	at := os.Getenv("ATLAS_PAGE")
	if at == "" || testing.Short() {
		t.Skip("ATLAS_PAGE is not set")
	}
	mux := http.NewServeMux()
	for name, mk := range samples() {
		src := newSample(t, mk)
		if name == "alone" {
			if _, err := src.JoinCode(true); err != nil {
				t.Fatal(err)
			}
		}
		p, err := New(src, Options{})
		if err != nil {
			t.Fatal(err)
		}
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, open(p)))
		if name == "ready" {
			mux.Handle("/assets/", p)
			mux.Handle("/login", p)
		}
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Fatal(http.Serve(l, mux)) //nolint:gosec // for looking only
}

// open gives every visitor a session, so that a browser without hands sees the page. With ?press=1 it presses the button that posts there.
func open(h http.Handler) http.Handler {
	var cookie *http.Cookie
	var token string
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cookie == nil {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, pressed("/login", r.RemoteAddr, "password=correct+horse"))
			cookie = rec.Result().Cookies()[0]
			rec, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
			req.AddCookie(cookie)
			h.ServeHTTP(rec, req)
			_, rest, _ := strings.Cut(rec.Body.String(), `name="token" value="`)
			token, _, _ = strings.Cut(rest, `"`)
		}
		if r.URL.Query().Get("press") != "" {
			r = pressed(r.URL.RequestURI(), r.RemoteAddr, "token="+token+"&plan="+r.URL.Query().Get("plan"))
		}
		r.AddCookie(cookie)
		h.ServeHTTP(w, r)
	})
}

func pressed(path, remote, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = remote
	return r
}
