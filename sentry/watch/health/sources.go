package health

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/watch/health/reading"
)

// rules look at the sources. What each keeps from look to look is its own: no source is looked at twice at a time.
type rules struct {
	w *Watcher

	space   map[string]*trend
	ecc     map[string]*counter
	fans    map[string]bool // have turned
	trusted map[string]bool // limits of sensors that have been kept once
	crc     map[string]*counter
	kernel  *reading.Kernel
	events  []reading.KernelEvent
	ports   map[string]*port
	logs    map[string]*counter
}

func (r *rules) sources() []*source {
	r.space, r.ecc, r.fans, r.trusted = map[string]*trend{}, map[string]*counter{}, map[string]bool{}, map[string]bool{}
	r.crc, r.ports, r.logs = map[string]*counter{}, map[string]*port{}, map[string]*counter{}
	return []*source{
		{name: "memory", title: "the memory", every: cheap, kernels: true, look: r.memory},
		{name: "pressure", title: "what work waits for", every: cheap, kernels: true, look: r.pressure},
		{name: "load", title: "the load", every: cheap, kernels: true, look: r.load},
		{name: "filesystems", title: "the filesystems", every: cheap, look: r.filesystems},
		{name: "esp", title: "the boot partition", every: everyESP, kernels: true, look: r.esp},
		{name: "arrays", title: "the RAID arrays", every: cheap, kernels: true, look: r.arrays},
		{name: "sensors", title: "the sensors", every: cheap, kernels: true, look: r.sensors},
		{name: "ecc", title: "the memory's error counters", every: cheap, kernels: true, look: r.dimms},
		{name: "disks", title: "what the disks tell of themselves", every: everyDisk, kernels: true, look: r.disks},
		{name: "gone", title: "the list of disks", every: cheap, kernels: true, look: r.gone},
		{name: "kernel", title: "the kernel's log", every: cheap, kernels: true, look: r.kernelLog},
		{name: "network", title: "the network ports", every: cheap, kernels: true, look: r.network},
		{name: "certificates", title: "the certificates", every: everyCerts, look: r.certificates},
		{name: "logs", title: "the logs", every: everyFiles, look: r.growing},
	}
}

func (r *rules) close() {
	// A look that hangs may still use it; the descriptor ends with the process then.
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	for _, s := range r.w.sources {
		if s.name == "kernel" && s.busy.IsZero() && r.kernel != nil {
			_ = r.kernel.Close()
			r.kernel = nil
		}
	}
}

// judge makes a claim of a number that is beyond its limit.
func (r *rules) judge(list *[]claim, v float64, l limit, c claim) {
	if c.Severity = l.level(v, r.w.severity(c.ID)); c.Severity != "" {
		*list = append(*list, c)
	}
}

func finding(id, severity, where, what, next string) initapi.Finding {
	return initapi.Finding{ID: "health-" + id, Severity: severity, Where: where, What: what, Next: next}
}

// slug makes the end of an ID of a name.
func slug(s string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, s), "-")
}

func capital(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[n:]
}

// bytes words a size.
func bytes(n uint64) string {
	switch {
	case n >= 10<<40:
		return fmt.Sprintf("%d TB", n>>40)
	case n >= 10<<30:
		return fmt.Sprintf("%d GB", n>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%d MB", n>>20)
}

// diskName is a disk as people find it: "the disk in bay 2 (sdb, serial S-1)".
func (f Facts) diskName(dev string) string {
	d, ok := f.diskOf(dev)
	if !ok {
		return "the disk " + dev
	}
	more := dev
	if s := cmp.Or(d.Serial, d.Model); s != "" {
		more += ", serial " + s
		if d.Serial == "" {
			more = dev + ", " + s
		}
	}
	if d.Bay != 0 {
		return fmt.Sprintf("the disk in bay %d (%s)", d.Bay, more)
	}
	return "the disk inside the server (" + more + ")"
}

// diskPlace is the finding's Where.
func (f Facts) diskPlace(dev string) string {
	if d, ok := f.diskOf(dev); ok && d.Bay != 0 {
		return fmt.Sprintf("bay %d", d.Bay)
	}
	return dev
}

// diskRemedy is how to replace it.
func (f Facts) diskRemedy(dev string) string {
	if d, ok := f.diskOf(dev); ok && d.Bay != 0 {
		return fmt.Sprintf("Replace it: when the set is whole, pull the disk from bay %d and put a blank one of the same size there; the rebuild starts by itself.", d.Bay)
	}
	return "If it is the system disk: swap to the other server, replace the disk, install again, and let this server join the site. The disk set keeps all data."
}
