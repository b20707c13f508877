package daemon

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/watch/health"
	"sayasystems.com/atlas/sentry/watch/health/reading"
)

// TestHealthReachesTheOther: what the secondary finds about itself (on a made-up tree) is told by the primary, and makes its verdict no.
func TestHealthReachesTheOther(t *testing.T) {
	ports := freePorts(t)
	left := newBox(t, 1, "left", "127.0.0.31", roles.Primary, ports, "1")
	right := newBox(t, 2, "right", "127.0.0.32", roles.Secondary, ports, "1")
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "proc/self"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "proc/self/mountinfo"), []byte("35 22 9:127 / /set rw - ext4 /dev/md127 ro\n"), 0o644))
	right.daemon.health = health.New(health.Config{
		Root: reading.Root(root), SetDir: "/set", StateDir: "/state", Facts: right.daemon.healthFacts, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Statfs: func(string) (reading.Space, error) { return reading.Space{Size: 1 << 40, Free: 1 << 39}, nil },
		Run:    func(context.Context, string, ...string) ([]byte, error) { return nil, exec.ErrNotFound },
	})
	left.run(t.Context(), t)
	off, err := left.daemon.JoinCode(false)
	must(t, err)
	eventually(t, "right joins", func() bool {
		reply, err := right.join(t.Context(), t, left, off.Code, strconv.Itoa(ports[0]))
		if err == nil {
			right.adopt(t, reply)
		}
		return err == nil
	})
	right.run(t.Context(), t)
	eventually(t, "left tells that right's set is read-only", func() bool {
		s := left.daemon.Site()
		v, ok := s.Find("right")
		has := func(r site.Reason) bool { return r.ID == "health-read-only-set-right" }
		return ok && v.Health != nil && s.Readiness.Verdict == initapi.VerdictNo && slices.ContainsFunc(s.Readiness.Reasons, has)
	})
	if h := left.daemon.report(time.Now()).Health; h != nil {
		t.Errorf("left is not watched, and tells %+v", h)
	}
}
