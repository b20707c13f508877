package report

import (
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/accept"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/verify"
)

// sampleStarts gives a report its part about starts from cold.
func sampleStarts(now time.Time, v sampleServer, r *site.Report) {
	services := func(took ...time.Duration) []ledger.Service {
		var out []ledger.Service
		for i, p := range samplePacks {
			out = append(out, ledger.Service{Name: p.name, Title: p.title, Good: true, Took: took[i]})
		}
		return out
	}
	boot := ledger.Entry{
		ID: "start-1", Kind: ledger.Start, At: now.Add(-26 * time.Hour), Done: now.Add(-25 * time.Hour), Server: v.name, Set: "set-" + v.name, Role: v.role, Image: "1.0.3",
		Good: true, Took: 61 * time.Second, Seen: []string{"left", "right"}, All: true, Services: services(48*time.Second, 52*time.Second, 44*time.Second),
	}
	if v.role == roles.Primary {
		swap := boot
		swap.ID, swap.At, swap.From = "start-0", now.Add(-12*24*time.Hour), "right"
		r.Ledger = []ledger.Entry{boot, swap}
		return
	}
	night := ledger.Entry{
		ID: "rehearsal-1", Kind: ledger.Rehearsal, At: now.Add(-9 * time.Hour), Done: now.Add(-9 * time.Hour), Server: v.name, Set: "set-" + v.name, Role: v.role, Image: "1.0.3",
		Good: true, Took: 41 * time.Second, Seen: []string{"left", "right"}, All: true, Why: rehearsal.Nightly, Services: services(8*time.Second, 31*time.Second, 6*time.Second),
	}
	r.Ledger = []ledger.Entry{night, boot}
	r.Starts = &rehearsal.Status{At: now, LastFull: night.At, Nightly: true, Proofs: ledger.Proofs(r.Ledger, v.name, "1.0.3"), Next: now.Add(15 * time.Hour)}
}

func sampleChange(now time.Time, ago time.Duration) []rehearsal.Unproven {
	return []rehearsal.Unproven{{
		Service: "apache", Title: "Web server", Since: now.Add(-ago), Last: now.Add(-ago), Change: "changed /etc/apache2/envvars", Who: "vi, by anna as root, from 10.7.0.50", Commit: "3f2a91c0",
	}}
}

// startSamples are sites where starts from cold are what matters.
func startSamples(left, right sampleServer) map[string]func(now time.Time) site.Site {
	return map[string]func(now time.Time) site.Site{
		"open": func(now time.Time) site.Site {
			rt := right
			rt.change = func(r *site.Report) {
				r.Starts.Unproven, r.Starts.Next = sampleChange(now, 3*time.Minute), now.Add(7*time.Minute)
			}
			return sampleSite(now, left, rt)
		},
		"rehearsing": func(now time.Time) site.Site {
			l, rt := left, right
			down := func(r *site.Report) {
				for i := range r.Probes {
					if p := &r.Probes[i]; p.Target == "right" && p.Service == "apache" {
						p.Status, p.Evidence, p.Since = verify.Fail, "connect: connection refused", now.Add(-20*time.Second)
					}
				}
			}
			l.change = down
			rt.change = func(r *site.Report) {
				down(r)
				r.Starts.Running = &rehearsal.Running{Since: now.Add(-25 * time.Second), Services: []string{"apache"}}
				r.State.Ready, r.State.Services[0].State = false, "starting"
			}
			return sampleSite(now, l, rt)
		},
		"cold": func(now time.Time) site.Site { // reloads well, and does not start
			rt := right
			rt.change = func(r *site.Report) {
				words := "apache2: Usage: /usr/sbin/apache2 [-D name] [-d directory] [-f file]"
				bad := ledger.Entry{
					ID: "rehearsal-2", Kind: ledger.Rehearsal, At: now.Add(-90 * time.Second), Done: now.Add(-20 * time.Second), Server: "right", Set: "set-right", Role: roles.Secondary,
					Image: "1.0.3", Why: rehearsal.AfterChange, Words: "Web server: " + words, Services: []ledger.Service{{Name: "apache", Title: "Web server", Words: words}},
				}
				r.Ledger = append([]ledger.Entry{bad}, r.Ledger...)
				r.Starts.Unproven, r.Starts.Failed = sampleChange(now, 14*time.Minute), &bad
				r.State.Ready, r.State.Services[0].State, r.State.Services[0].Error = false, "failed", words
				for i := range r.Probes {
					if p := &r.Probes[i]; p.Target == "right" && p.Service == "apache" {
						p.Status, p.Evidence, p.Since = verify.Fail, "connect: connection refused", now.Add(-time.Minute)
					}
				}
			}
			return sampleSite(now, left, rt)
		},
		"accepted": func(now time.Time) site.Site {
			l := left
			l.change = func(r *site.Report) {
				r.State.Set.Degraded, r.State.Set.Members[1].State, r.State.Disks = true, "missing", r.State.Disks[:1]
				r.State.Findings = []initapi.Finding{{
					ID: "set-degraded-bay-2", Severity: "critical", What: "The disk in bay 2 (S4NN0L2) has left the set: pulled or failed.", Where: "bay 2",
					Next: "Put a new disk of at least 480 GB into bay 2. It is taken into the set by itself.", Since: now.Add(-4 * time.Hour),
				}}
			}
			s := sampleSite(now, l, right)
			s.Accepted = []accept.Acceptance{{
				Finding: "set-degraded-bay-2-left", Severity: "critical", Who: "anna, from 10.7.0.50", Why: "the new disk comes on Thursday", Server: "left",
				At: now.Add(-3 * time.Hour), Until: now.Add(45 * time.Hour),
			}}
			return s
		},
	}
}
