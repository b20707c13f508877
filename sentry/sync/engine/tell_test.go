package engine

import (
	"context"
	"sync/atomic"
	"testing"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/sync/apply"
)

// slow is a service that takes its time until it is let go; asked is closed at the first order.
type slow struct {
	apply.Services
	asked chan struct{}
	first atomic.Bool
}

func (s *slow) Do(ctx context.Context, name, verb string) error {
	if s.first.CompareAndSwap(false, true) {
		close(s.asked)
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Services.Do(ctx, name, verb)
}

func TestChoiceOfServicesIsCarried(t *testing.T) {
	left, right := site(t)
	write(t, left.path("etc/atlas/site.yaml"), "services: [web]\n")
	eventually(t, "choice told", func() bool { return right.told("choose site") })
}

// TestToldByTheNext ends the engine while a service is being told: the next one tells it.
func TestToldByTheNext(t *testing.T) {
	s := &slow{asked: make(chan struct{})}
	left, right := siteOf(t, plan{config: func(v *server, c *Config) {
		if c.Role == roles.Secondary {
			s.Services = v
			c.Services = s
		}
	}})
	write(t, left.path("etc/web/site.conf"), "listen 8080\n")
	<-s.asked
	right.stop()
	if right.read("etc/web/site.conf") != "listen 8080\n" || right.told("reload web") {
		t.Fatal("the file is to be live and the service not told")
	}
	right.start()
	eventually(t, "service told", func() bool { return right.told("reload web") })
	eventually(t, "in step", func() bool { return right.engine.Status().InStep })
}

// TestStaleWaits: nothing is made live by an engine that knows another choice of services than the site's.
func TestStaleWaits(t *testing.T) {
	var stale atomic.Bool
	left, right := siteOf(t, plan{config: func(_ *server, c *Config) {
		if c.Role == roles.Secondary {
			c.Stale = stale.Load
		}
	}})
	write(t, left.path("etc/hosts"), "1\n")
	eventually(t, "in step", func() bool { return right.read("etc/hosts") == "1\n" && right.engine.Status().InStep })
	stale.Store(true)
	pause()
	write(t, left.path("etc/hosts"), "2\n")
	eventually(t, "received", func() bool {
		c, ok := right.engine.History().Head("site")
		return ok && c.ID == left.head(t)
	})
	pause()
	if right.read("etc/hosts") != "1\n" {
		t.Fatal("made live all the same")
	}
	stale.Store(false)
	eventually(t, "live", func() bool { return right.read("etc/hosts") == "2\n" })
}

// head is the newest commit of the site's line here.
func (s *server) head(t *testing.T) string {
	t.Helper()
	c, ok := s.engine.History().Head("site")
	if !ok {
		t.Fatal("no history")
	}
	return c.ID
}
