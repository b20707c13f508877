package habits

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

func readFile(name string) ([]byte, error) { return os.ReadFile(name) }

// act starts, stops, restarts or reloads.
func act(ctx context.Context, h *Host, a systemctlArgs, u units) int {
	return a.each(h, u, exitNotLoaded, func(f unit) int {
		if err := h.order(ctx, f, a.verb, a.noBlock); err != nil {
			return h.fail(1, "Failed to %s %s.service: %s\nSee: systemctl status %s; journalctl -u %s", a.verb, f.id, words(err), f.id, f.id)
		}
		return 0
	})
}

// canReload tells whether any of the unit's processes can read its configuration again.
func (u unit) canReload() bool {
	for _, p := range u.procs {
		if p.Reloads {
			return true
		}
	}
	return false
}

// order translates a verb into what init does, and waits until it is done.
func (h *Host) order(ctx context.Context, f unit, verb string, noBlock bool) error {
	active, _ := f.active()
	runs := active == "active" || active == "activating" || active == "failed" // failed: it is tried again and again
	switch verb {
	case "try-restart", "condrestart", "try-reload-or-restart", "condreload":
		if !runs {
			return nil
		}
	}
	switch verb {
	case "stop":
		return h.Init.Service(ctx, f.order(), "stop")
	case "start":
		if active == "active" {
			return nil
		}
		return h.orderAndWait(ctx, f, "start", noBlock)
	case "restart", "try-restart", "condrestart":
		if !runs {
			return h.orderAndWait(ctx, f, "start", noBlock)
		}
		return h.orderAndWait(ctx, f, "restart", noBlock)
	case "reload":
		if active != "active" {
			return fmt.Errorf("%s.service is not active, cannot reload", f.id)
		}
		return h.Init.Service(ctx, f.order(), "reload")
	}
	// reload-or-restart and the like
	switch {
	case !runs:
		return h.orderAndWait(ctx, f, "start", noBlock)
	case active == "active" && f.canReload():
		return h.Init.Service(ctx, f.order(), "reload")
	}
	return h.orderAndWait(ctx, f, "restart", noBlock)
}

// orderAndWait gives an order and looks until the unit is ready, as systemctl does; a service that has failed is not waited for.
func (h *Host) orderAndWait(ctx context.Context, f unit, verb string, noBlock bool) error {
	if err := h.Init.Service(ctx, f.order(), verb); err != nil || noBlock {
		return err
	}
	end := h.Now().Add(h.Wait)
	for {
		u, err := h.load(ctx)
		if err != nil {
			return err
		}
		if f, err = u.find(f.id); err != nil {
			return err
		}
		switch active, _ := f.active(); active {
		case "active":
			return nil
		case "failed":
			why := f.svc.Error
			for _, p := range f.procs {
				if p.Error != "" {
					why = p.Error
				}
			}
			return fmt.Errorf("it has failed: %s", why)
		}
		if h.Now().After(end) {
			return fmt.Errorf("it is not ready after %s; init goes on trying", h.Wait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(h.Pause):
		}
	}
}

// enable switches services on or off for the site: it changes what site.yaml lists, and takes a service as a whole.
func enable(ctx context.Context, h *Host, a systemctlArgs, u units) int {
	verb := a.verb
	if verb == "reenable" {
		verb = "enable"
	}
	return a.each(h, u, 1, func(f unit) int {
		if !f.whole && !a.quiet {
			fmt.Fprintf(h.Err, "%s is a part of the service %s, which is %sd as a whole.\n", f.id, f.svc.Name, verb)
		}
		if f.svc.Enabled != (verb == "enable") {
			if err := h.Init.Service(ctx, f.svc.Name, verb); err != nil {
				return h.fail(1, "Failed to %s unit: %s", verb, words(err))
			}
		}
		if !a.now {
			return 0
		}
		now := map[string]string{"enable": "start", "disable": "stop"}[verb]
		if now == "start" {
			if u, err := h.load(ctx); err == nil {
				if fresh, err := u.find(f.id); err == nil {
					f = fresh
				}
			}
		}
		if err := h.order(ctx, f, now, a.noBlock); err != nil {
			return h.fail(1, "Failed to %s %s.service: %s", now, f.id, words(err))
		}
		return 0
	})
}

// isActive prints each unit's state; the status is 0 if any is active.
func isActive(_ context.Context, h *Host, a systemctlArgs, u units) int {
	return a.any(h, u, exitNotActive, func(f unit) (string, bool) {
		active, _ := f.active()
		return active, active == "active"
	})
}

func isFailed(_ context.Context, h *Host, a systemctlArgs, u units) int {
	if len(a.names) == 0 {
		a.quiet, a.names = true, nil
		for _, f := range u.list() {
			a.names = append(a.names, f.id)
		}
	}
	return a.any(h, u, 1, func(f unit) (string, bool) {
		active, _ := f.active()
		return active, active == "failed"
	})
}

// any prints a word for each unit; the status is 0 if ok holds for one.
func (a systemctlArgs) any(h *Host, u units, not int, ask func(unit) (word string, ok bool)) int {
	if len(a.names) == 0 {
		return h.fail(1, "systemctl %s: name a service; systemctl list-units lists them", a.verb)
	}
	code := exitNoUnit
	for _, n := range a.names {
		word, ok := "inactive", false
		if f, err := u.find(n); err == nil {
			word, ok = ask(f)
			if code == exitNoUnit {
				code = not
			}
		} else if slices.Contains([]string{"multi-user.target", "default.target", "graphical.target", "basic.target", "sysinit.target", "network.target", "network-online.target"}, n) {
			// What scripts ask to know whether the system is up.
			if ok = u.state.Ready && a.verb == "is-active"; u.state.Ready {
				word = "active"
			}
			if code == exitNoUnit {
				code = not
			}
		}
		if ok {
			code = 0
		}
		if !a.quiet {
			fmt.Fprintln(h.Out, word)
		}
	}
	return code
}

// isEnabled prints each unit's word; the status is 0 if one is enabled, and 4 if there is no such unit.
func isEnabled(_ context.Context, h *Host, a systemctlArgs, u units) int {
	if len(a.names) == 0 {
		return h.fail(1, "systemctl is-enabled: name a service; systemctl list-units lists them")
	}
	code := exitNoUnit
	for _, n := range a.names {
		word := "not-found"
		if f, err := u.find(n); err == nil {
			word = enabledWord(f)
			switch {
			case f.svc.Enabled:
				code = 0
			case code == exitNoUnit:
				code = 1
			}
		}
		if !a.quiet {
			fmt.Fprintln(h.Out, word)
		}
	}
	return code
}

func enabledWord(f unit) string {
	if f.svc.Enabled {
		return "enabled"
	}
	return "disabled"
}
