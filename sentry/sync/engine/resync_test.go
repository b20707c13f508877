package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestResync: the primary's history is damaged and begun anew. The secondary refuses it, and says so, as does the primary; ordered on either it
// takes the primary's files and history, and keeps its own.
func TestResync(t *testing.T) {
	for _, by := range []string{"left", "right"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			left, right := siteOf(t, plan{sender: quick})
			eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
			write(t, left.path("etc/hosts"), "127.0.0.1 localhost\n10.0.0.5 printer\n")
			write(t, left.path("etc/web/extra.conf"), "old\n")
			eventually(t, "change on right", func() bool {
				return right.read("etc/web/extra.conf") == "old\n" && right.read("etc/hosts") == left.read("etc/hosts") && right.engine.Status().InStep
			})
			was, _ := right.engine.repo.Head(state.Site)
			orderer := left
			if by == "right" {
				orderer = right
			}
			me := state.Who{User: "anna"}
			ctx := context.Background()
			if _, err := orderer.engine.Resync(ctx, state.Resync{}, me); !errors.Is(err, errTogether) || !Stands(err) {
				t.Errorf("an order in peace = %v", err)
			}
			damage(left)
			eventually(t, "both tell", func() bool { return left.finding("sync-peer-right") && told(right, "sync-diverged") })
			for _, f := range append(left.engine.Status().Findings, right.engine.Status().Findings...) {
				if !strings.Contains(f.Next, "atlas resync") {
					t.Errorf("%s tells to do: %s", f.ID, f.Next)
				}
			}
			write(t, left.path("etc/hosts"), "127.0.0.1 localhost\n10.0.0.6 printer\n")
			eventually(t, "recorded", func() bool { return left.engine.Status().Commits > 1 })
			if got := right.read("etc/hosts"); !strings.Contains(got, "10.0.0.5") {
				t.Errorf("right took %q before it was ordered", got)
			}

			plan, err := orderer.engine.Resync(ctx, state.Resync{Try: true}, me)
			must(t, err)
			if plan.Server != "right" || plan.From != "left" || plan.HasID != was.ID || plan.Has != was.Seq || plan.Done || !carry.Kept(plan.Kept) {
				t.Errorf("the plan is %+v", plan)
			}
			if words := strings.Join(plan.Words(), " "); !strings.Contains(words, "RIGHT takes LEFT's files") || !strings.Contains(words, string(plan.Kept)) {
				t.Errorf("it says: %s", words)
			}
			if _, err := orderer.engine.Resync(ctx, state.Resync{Plan: string(plan.Kept) + "." + strings.Repeat("0", 40)}, me); !errors.Is(err, errElse) {
				t.Errorf("another plan = %v", err)
			}
			if _, err := orderer.engine.Resync(ctx, state.Resync{Server: "third"}, me); !errors.Is(err, errTogether) {
				t.Errorf("a server that is not there = %v", err)
			}
			done, err := orderer.engine.Resync(ctx, state.Resync{Server: "right", Plan: plan.Plan}, me)
			must(t, err)
			if !done.Done || done.Kept != plan.Kept {
				t.Errorf("ordered: %+v", done)
			}
			eventually(t, "in step again", func() bool {
				st := left.engine.Status()
				return right.engine.Status().InStep && len(st.Peers) == 1 && st.Peers[0].Behind == 0 && st.Peers[0].State == string(carry.InStep) && !st.Peers[0].Apart
			})
			if d := differ(walk(t, left.root), walk(t, right.root)); len(d) > 0 {
				t.Errorf("the files differ: %v", d)
			}
			kept, err := right.engine.Events(state.Query{Line: done.Kept})
			must(t, err)
			if len(kept) == 0 || kept[0].ID != was.ID {
				t.Errorf("kept is %+v", kept)
			}
			if s, err := right.engine.Show(was.Short(), "etc/hosts"); err != nil || !strings.Contains(string(s.Patch), "10.0.0.5") {
				t.Errorf("what was there before: %v, %s", err, s.Patch)
			}
			must(t, right.engine.repo.Pack(ctx)) // it is not dropped as what nobody needs
			must(t, right.engine.repo.Verify(ctx))
			if _, err := right.engine.Show(was.ID, ""); err != nil {
				t.Errorf("after packing: %v", err)
			}
			left.seen("sync-history-damaged")
			if by == "left" { // news outlive a restart, until they are acknowledged
				right.stop()
				right.findings = Findings{}
				right.start()
			}
			right.seen("sync-replaced-right")
			eventually(t, "nothing is told any more", func() bool {
				return len(left.engine.Status().Findings)+len(right.engine.Status().Findings) == 0
			})
			write(t, left.path("etc/hosts"), "goes on\n")
			eventually(t, "the next change", func() bool { return right.read("etc/hosts") == "goes on\n" })
		})
	}
}

func told(s *server, id string) bool {
	for _, f := range s.engine.Status().Findings {
		if f.ID == id {
			return true
		}
	}
	return false
}

// quick has a sender ask again soon.
func quick(c *carry.SenderConfig) { c.Limits.Backoff = 50 * time.Millisecond }
