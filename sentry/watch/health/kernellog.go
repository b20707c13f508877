package health

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/watch/health/reading"
)

// kernelLog counts what the kernel has told in the last day, that which was told before this process began too.
func (r *rules) kernelLog(_ context.Context, now time.Time) ([]claim, error) {
	if r.kernel == nil {
		k, err := r.w.cfg.Root.Kernel()
		if err != nil {
			return nil, err
		}
		r.kernel = k
	}
	up, err := r.w.cfg.Root.Uptime()
	if err != nil {
		return nil, err
	}
	more, err := r.kernel.New(now.Add(-up))
	r.events = append(r.events, more...)
	r.events = current(r.events, now)
	if err != nil {
		_ = r.kernel.Close()
		r.kernel = nil // it begins anew, and must not count twice
		r.events = nil
		return nil, err
	}
	return r.kernelClaims(now), nil
}

// mostEvents are kept: a disk that fails fills the log.
const mostEvents = 5000

// current drops what is too old, and what was told of a disk before another one came in its place.
func current(list []reading.KernelEvent, now time.Time) []reading.KernelEvent {
	attached := map[string]time.Time{}
	for _, e := range list {
		if e.Kind == reading.KernelAttached {
			attached[e.Subject] = e.At
		}
	}
	list = slices.DeleteFunc(list, func(e reading.KernelEvent) bool {
		if now.Sub(e.At) > kernelWindow {
			return true
		}
		disk := e.Kind == reading.KernelIO || e.Kind == reading.KernelReset
		return disk && (e.At.Before(attached[e.Subject]) || e.At.Before(attached[controller(e.Subject)]))
	})
	if n := len(list) - mostEvents; n > 0 {
		list = list[n:]
	}
	return list
}

func (r *rules) kernelClaims(now time.Time) []claim {
	type group struct{ kind, subject string }
	found := map[group][]reading.KernelEvent{}
	var order []group
	for _, e := range r.events {
		if e.Kind == reading.KernelLink && now.Sub(e.At) > flapWindow {
			continue
		}
		g := group{e.Kind, e.Subject}
		if found[g] == nil {
			order = append(order, g)
		}
		found[g] = append(found[g], e)
	}
	var out []claim
	for _, g := range order {
		if c, ok := r.kernelClaim(g.kind, g.subject, found[g]); ok {
			out = append(out, c)
		}
	}
	return out
}

const dayLong = " This is told for a day after the last time."

// kernelClaim words one kind of message about one thing.
func (r *rules) kernelClaim(kind, subject string, list []reading.KernelEvent) (claim, bool) {
	facts := r.w.cfg.Facts()
	last := list[len(list)-1]
	times, said := many(len(list)), " The kernel: “"+last.Text+"”."
	c := claim{Finding: finding("kernel-"+kind, "warning", "kernel", "", "")}
	if subject != "" {
		c.ID += "-" + slug(subject)
		c.Where = subject
	}
	switch kind {
	case reading.KernelIO:
		if !r.w.cfg.Root.Has(subject) { // pulled: init tells
			return c, false
		}
		c.Where = facts.diskPlace(subject)
		c.What = fmt.Sprintf("%s could not read or write %s in the last day.%s", capital(facts.diskName(subject)), times, said)
		c.Next = "Push the disk in firmly. If it happens again: " + facts.diskRemedy(subject)
		c.is, c.because = []string{"io " + subject, "io " + controller(subject), "any io"}, []string{"disk " + subject, "cable " + subject}
		c.short = fmt.Sprintf("reading or writing failed %s", times)
	case reading.KernelReset:
		if len(list) < resetsWarn {
			return c, false
		}
		c.What = fmt.Sprintf("The connection to a disk (%s) was lost and set up again %s in the last day.%s", subject, times, said)
		c.Next = "Push the disks in firmly; if it goes on, the cable, the bay's contacts or the disk are at fault."
		c.is, c.because = []string{"any io"}, []string{"disk " + subject, "io " + subject, "any disk", "any io"}
		c.short = fmt.Sprintf("the connection %s was lost %s", subject, times)
	case reading.KernelFS:
		c.What = fmt.Sprintf("The filesystem on %s was found damaged.%s", subject, said)
		c.Next = "Restart the server at a quiet hour: the filesystem is checked and mended then. If it comes back, a disk, a cable or the memory is at fault."
		c.is, c.because = []string{"fs " + subject}, []string{"disk " + strings.TrimRight(subject, "0123456789"), "io " + strings.TrimRight(subject, "0123456789")}
		c.short = "the filesystem on " + subject + " was found damaged"
	case reading.KernelOOM:
		c.What = fmt.Sprintf("The memory was used up, and the kernel has ended “%s” (%s in the last day).", subject, times)
		c.Next = "See which service takes the memory (`atlas service list`); let it take less, or put more memory into both servers." + dayLong
		c.because, c.short = []string{"memory", "memory stall"}, fmt.Sprintf("the kernel has ended “%s” %s", subject, times)
	case reading.KernelLink:
		if len(list) < flapsWarn {
			return c, false
		}
		c.ID = "health-flaps-" + slug(subject)
		c.What = fmt.Sprintf("The network link of port %s was lost %s in the last hour.", subject, times)
		c.Next = linkRemedy
		c.because, c.short = []string{"port " + subject}, "the kernel tells so too"
	case reading.KernelFatal:
		c.Severity = "critical"
		c.What = "The processor or the memory has failed in a way that cannot be mended." + said
		c.Next = "Swap to the other server, and have this one looked at: memory modules first." + dayLong
		c.is, c.because, c.short = []string{"machine"}, []string{"dimm"}, "the processor has told of a fault that cannot be mended"
	case reading.KernelMachine:
		if len(list) < machinesWarn {
			return c, false
		}
		c.What = fmt.Sprintf("The processor has told of hardware faults %s in the last day; it has mended them.%s", times, said)
		c.Next = "Have the memory modules and the processor's cooling looked at, on a secondary: that disturbs nobody."
		c.because, c.short = []string{"dimm", "machine"}, "the processor has told of hardware faults "+times
	case reading.KernelThrottled:
		c.What = "The processor was too hot in the last day and made itself slower."
		c.Next = "See that nothing blocks the air, that all fans turn, and that the room is cool." + dayLong
		c.is, c.because, c.short = []string{"throttled"}, []string{"fan", "cpu heat"}, "the processor makes itself slower"
	case reading.KernelHung:
		c.What = fmt.Sprintf("“%s” has waited for minutes, mostly for a disk (%s in the last day).", subject, times)
		c.Next = "Look at the findings about disks. If services stand still, restart the server or swap." + dayLong
		c.because, c.short = []string{"any disk", "any io", "io wait", "memory"}, fmt.Sprintf("“%s” has waited for minutes", subject)
	case reading.KernelBus:
		c.What = fmt.Sprintf("The expansion card at %s has reported faults %s in the last day.%s", subject, times, said)
		c.Next = "Switch the server off, push the card in firmly; if it goes on, replace it." + dayLong
		c.is = []string{"bus " + subject}
	default:
		return c, false
	}
	return c, true
}

func many(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}
