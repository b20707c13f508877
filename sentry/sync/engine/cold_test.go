package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestUnproven: a service counts as proven until its files differ from those that it was proven with, and again when they do not any more.
func TestUnproven(t *testing.T) {
	left, right := site(t)
	inStep := func() {
		t.Helper()
		eventually(t, "in step", func() bool {
			st := left.engine.Status()
			return len(st.Peers) == 1 && st.Peers[0].State == "in step" && st.Peers[0].Behind == 0 && right.engine.Status().InStep && right.read("etc/web/site.conf") == left.read("etc/web/site.conf")
		})
		pause()
	}
	inStep()
	if right.engine.Begun() == "" {
		t.Error("it is not known what was live at the start")
	}
	live, err := right.engine.Still(t.Context())
	must(t, err)
	right.engine.Resume()
	proofs := map[string]ledger.Proof{"web": {Service: "web", Live: live}, "gone": {Service: "gone", Live: live}}
	open := func() string {
		var out []string
		for _, u := range right.engine.Unproven(proofs) {
			out = append(out, u.Service+": "+u.Reason())
			if u.Since.IsZero() || u.Last.Before(u.Since) || time.Since(u.Since) > time.Minute || u.Title != "Web server" {
				t.Errorf("unproven: %+v", u)
			}
		}
		return strings.Join(out, "\n")
	}
	if got := open(); got != "" {
		t.Errorf("right after the proof: %s", got)
	}
	write(t, left.path("etc/hosts"), "127.0.0.1 localhost\n10.0.0.5 printer\n")
	eventually(t, "hosts on right", func() bool { return strings.Contains(right.read("etc/hosts"), "printer") })
	inStep()
	if got := open(); got != "" {
		t.Errorf("after a change of no service: %s", got)
	}

	was, before := left.read("etc/web/site.conf"), time.Now()
	time.Sleep(time.Second) // times are kept in seconds
	write(t, left.path("etc/web/site.conf"), "listen 8080\n")
	eventually(t, "change on right", func() bool { return right.read("etc/web/site.conf") == "listen 8080\n" })
	inStep()
	if got := open(); !strings.HasPrefix(got, "web: changed /etc/web/site.conf") {
		t.Errorf("after a change: %q", got)
	}
	first := right.engine.Unproven(proofs)[0]
	time.Sleep(time.Second) // times are kept in seconds
	write(t, left.path("etc/web/more.conf"), "x\n")
	eventually(t, "second change on right", func() bool { return right.read("etc/web/more.conf") == "x\n" })
	inStep()
	if u := right.engine.Unproven(proofs); len(u) != 1 || !u[0].Since.Equal(first.Since) || !u[0].Last.After(first.Last) || !strings.HasPrefix(u[0].Reason(), "added /etc/web/more.conf") {
		t.Errorf("after a second change: %+v; first %+v", u, first)
	}

	_, err = left.engine.Rollback(context.Background(), state.Rollback{Service: "web", To: before.Format(time.RFC3339)}, state.Who{Program: "atlas", User: "root"})
	if err != nil || left.read("etc/web/site.conf") != was {
		t.Fatalf("rollback: %v; the file says %q", err, left.read("etc/web/site.conf"))
	}
	eventually(t, "rollback on right", func() bool { return right.read("etc/web/site.conf") == was })
	inStep()
	if got := open(); got != "" {
		t.Errorf("after going back: %s", got)
	}

	write(t, left.path("etc/web/site.conf"), "listen 8081\n")
	inStep()
	write(t, left.path("etc/hosts"), "127.0.0.1 localhost\n")
	eventually(t, "hosts on right again", func() bool { return !strings.Contains(right.read("etc/hosts"), "printer") })
	_, err = left.engine.Rollback(context.Background(), state.Rollback{Service: "web"}, state.Who{Program: "atlas", User: "root"})
	if err != nil || left.read("etc/web/site.conf") != was || strings.Contains(left.read("etc/hosts"), "printer") {
		t.Fatalf("rollback of a service's newest change: %v; the files say %q, %q", err, left.read("etc/web/site.conf"), left.read("etc/hosts"))
	}

	proofs["web"] = ledger.Proof{Service: "web", Live: strings.Repeat("0", 40)}
	if got := open(); !strings.Contains(got, "the history does not know any more") {
		t.Errorf("with a commit that is not there: %q", got)
	}
}

// TestStill: while services are started from cold nothing is brought to the secondary, and everything after that.
func TestStill(t *testing.T) {
	left, right := site(t)
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	if _, err := left.engine.Still(t.Context()); !errors.Is(err, errNotTwin) {
		t.Errorf("Still on the primary: %v", err)
	}
	if _, err := right.engine.Still(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, left.path("etc/web/site.conf"), "listen 8081\n")
	time.Sleep(3 * time.Second)
	if got := right.read("etc/web/site.conf"); got != "listen 80\n" {
		t.Errorf("brought while it is held: %q", got)
	}
	right.engine.Resume()
	eventually(t, "brought afterwards", func() bool { return right.read("etc/web/site.conf") == "listen 8081\n" })
}
