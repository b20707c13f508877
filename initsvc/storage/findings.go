package storage

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// board remembers which findings are told, so that each is told once, and again when its words change.
type board struct {
	now      func() time.Time
	found    func(initapi.Finding)
	resolved func(string)
	told     map[string]initapi.Finding
}

func newBoard(now func() time.Time, found func(initapi.Finding), resolved func(string)) *board {
	return &board{now: now, found: found, resolved: resolved, told: map[string]initapi.Finding{}}
}

// show makes fs the findings there are.
func (b *board) show(fs []initapi.Finding) {
	here := map[string]bool{}
	for _, f := range fs {
		if here[f.ID] {
			continue // the first of several with one ID is the most important
		}
		here[f.ID] = true
		old, ok := b.told[f.ID]
		f.Since = old.Since
		if ok && f == old {
			continue
		}
		if !ok {
			f.Since = b.now()
		}
		b.told[f.ID] = f
		b.found(f)
	}
	for id := range b.told {
		if !here[id] {
			delete(b.told, id)
			b.resolved(id)
		}
	}
}

func (r *running) finding(id, severity, what, next string, bay int) initapi.Finding {
	where := r.writer.Server
	if bay != 0 {
		where = strings.TrimSpace(fmt.Sprintf("%s bay %d", where, bay))
	}
	return initapi.Finding{ID: id, Severity: severity, What: what, Where: where, Next: next}
}

// failure is the finding for an error that stops the set's bookkeeping.
func (r *running) failure(err error) initapi.Finding {
	if errors.Is(err, array.ErrTooFew) {
		return r.finding("set-failed", "critical", "The disk set has lost too many disks and cannot be used: "+err.Error()+".",
			"Shut the server down, put the disks back into their bays and start again. If that does not help, swap in the other disk set.", 0)
	}
	return r.finding("set-label", "critical", "The state of the disk set cannot be recorded on its labels: "+err.Error()+".",
		"Replace the disks of this set one after the other; until then do not move single disks to another server.", 0)
}

// degraded tells which members are missing and what to do.
func (r *running) degraded(st array.Status) []initapi.Finding {
	var fs []initapi.Finding
	for i, m := range r.label.Members {
		if d, ok := r.disks[i]; ok && i == r.rebuild {
			fs = append(fs, r.finding("set-degraded", "warning",
				fmt.Sprintf("The disk set is being rebuilt onto the disk in bay %d (serial %s)%s. Until that is done the data lies on one disk fewer than it should.", d.Bay, d.Serial, colon(st.Work)),
				"Wait, and pull no disk.", d.Bay))
			continue
		}
		if _, ok := r.disks[i]; ok {
			continue
		}
		place, next := fmt.Sprintf("bay %d", r.bays[i]), fmt.Sprintf("bay %d", r.bays[i])
		if r.bays[i] == 0 {
			place, next = "its bay", "the empty bay"
		}
		what := fmt.Sprintf("The disk set runs without the disk with serial %s: it %s.", m.Serial, reason(m, place))
		do := fmt.Sprintf("Put a blank disk of at least %s into %s; the rebuild starts by itself.", array.Bytes(m.Size), next)
		if r.spent[m.Serial] {
			do = fmt.Sprintf("Pull the disk from %s and put a blank one of at least %s there; the rebuild starts by itself.", next, array.Bytes(m.Size))
		}
		fs = append(fs, r.finding("set-degraded", "critical", what, do, r.bays[i]))
	}
	return fs
}

func reason(m roles.Member, place string) string {
	switch m.Reason {
	case "":
		return "was lost from " + place
	case reasonRebuilding:
		return "was never fully rebuilt"
	}
	r := m.Reason
	if strings.HasPrefix(r, "pulled") {
		return "was " + r
	}
	return r
}

func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

// unfit tells whether the disk d may not be taken by itself, with the finding to show, if there is anything to tell.
func (r *running) unfit(d roles.Disk, degraded bool) (initapi.Finding, bool) {
	add := fmt.Sprintf("To use it for this set and lose what is on it: atlas set add --bay %d --serial %s. Else pull it.", d.Bay, d.Serial)
	severity := "info"
	if degraded {
		severity = "warning"
	} else {
		add = "The set needs no disk. Pull it if it does not belong here."
	}
	switch {
	case d.Label != nil && d.Label.Set != r.label.Set:
		return r.finding(fmt.Sprintf("disk-other-set-bay-%d", d.Bay), "warning",
			fmt.Sprintf("The disk in bay %d (serial %s) belongs to another disk set: the %s set of %s.", d.Bay, d.Serial, d.Label.Role, d.Label.SiteName),
			"Put it back into the server and bay that it came from. "+add, d.Bay), false
	case d.Label != nil && r.label.Judge(d) != roles.Stale:
		return r.finding(fmt.Sprintf("disk-diverged-bay-%d", d.Bay), "warning",
			fmt.Sprintf("The disk in bay %d (serial %s) was once in this set, but may have been used without it since: it may hold data that is nowhere else.", d.Bay, d.Serial),
			add, d.Bay), false
	case d.Label == nil && !d.Blank:
		return r.finding(fmt.Sprintf("disk-not-blank-bay-%d", d.Bay), severity,
			fmt.Sprintf("The disk in bay %d (serial %s) is not blank: %s.", d.Bay, d.Serial, contents(d)), add, d.Bay), false
	case r.spent[d.Serial]:
		return initapi.Finding{}, false // told by set-degraded
	}
	return initapi.Finding{}, true
}

func contents(d roles.Disk) string {
	switch {
	case d.Label != nil:
		return fmt.Sprintf("it belongs to the %s set of %s", d.Label.Role, d.Label.SiteName)
	case d.LabelErr != "":
		return "its label cannot be read: " + d.LabelErr
	case d.Content != "":
		return "it holds " + d.Content
	}
	return "it holds something unknown"
}
