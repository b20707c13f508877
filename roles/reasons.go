package roles

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Codes of reasons; stable, for tests, pages and translations.
const (
	CodeNoDisks          = "no-disks"
	CodeNoSet            = "no-set"
	CodeNoSite           = "no-site"
	CodeForeign          = "foreign-site"
	CodeMixed            = "mixed-sets"
	CodeTwoSets          = "two-sets"
	CodeFuture           = "label-future"
	CodeUnreadable       = "label-unreadable"
	CodeDiverged         = "diverged"
	CodeGivenUp          = "given-up"
	CodeCopies           = "copied-disk"
	CodeArray            = "array-mismatch"
	CodeNotEnough        = "not-enough-members"
	CodeAbsent           = "member-absent"
	CodeHalf             = "half-elsewhere"
	CodeNewerElsewhere   = "newer-elsewhere"
	CodeSetElsewhere     = "set-elsewhere"
	CodePrimaryElsewhere = "primary-elsewhere"
	CodeTwoPrimaries     = "two-primary-sets"
	CodeRemembered       = "newer-remembered"
	CodeSilent           = "peer-silent"
	CodeOrder            = "order-impossible"
	CodeUnknown          = "unknown"

	// Notes on a start.
	CodeDegraded = "degraded"
	CodeBehind   = "member-behind"
	CodeAttested = "started-attested"
	CodeOrdered  = "started-by-order"
	CodeStale    = "stale-member"
	CodeAside    = "set-aside"
	CodeIgnored  = "disk-ignored"
)

// where names a disk for somebody who stands before the server.
func where(d Disk) string {
	s := "the disk " + filepath.Base(d.Dev)
	if d.Bay > 0 {
		s = fmt.Sprintf("the disk in bay %d", d.Bay)
	}
	if d.Serial != "" {
		s += " (serial " + d.Serial + ")"
	}
	return s
}

func wheres(disks []Disk) string {
	var s []string
	for _, d := range disks {
		s = append(s, where(d))
	}
	return list(s)
}

func list(s []string) string {
	switch len(s) {
	case 0:
		return "none"
	case 1:
		return s[0]
	}
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}

// named names a member that is not here: only its label entry is known.
func named(l Label, i int) string {
	m := l.Members[i]
	switch {
	case m.Serial != "" && m.Model != "":
		return fmt.Sprintf("the disk with serial %s (%s)", m.Serial, m.Model)
	case m.Serial != "":
		return "the disk with serial " + m.Serial
	}
	return fmt.Sprintf("member %d", i+1)
}

func nameds(l Label, slots []int) string {
	var s []string
	for _, i := range slots {
		s = append(s, named(l, i))
	}
	return list(s)
}

func is(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func has(n int) string {
	if n == 1 {
		return "has"
	}
	return "have"
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func setName(d Disk) string {
	return fmt.Sprintf("a %s set of %s", d.Label.Role, siteName(*d.Label))
}

func siteName(l Label) string {
	if l.SiteName != "" {
		return "site “" + l.SiteName + "”"
	}
	return "site " + l.Site
}

func reasonNoDisks() Reason {
	return Reason{
		CodeNoDisks, "There is no disk in any bay.",
		"Power off, put the disk set into the bays, and power on.",
	}
}

func reasonNoSet(s sorted) Reason {
	text := "No disk set is in this server: every disk in it is blank."
	if len(s.other) > 0 {
		var c []string
		for _, d := range s.other {
			what := d.Content
			if what == "" {
				what = "something unknown"
			}
			c = append(c, where(d)+" holds "+what)
		}
		text = "No disk set is in this server. " + upper(list(c)) + ", which ATLAS does not touch."
	}
	return Reason{CodeNoSet, text, "Power off, put the disk set into the bays, and power on. To make a new set, boot the install stick."}
}

func reasonNoSite() Reason {
	return Reason{CodeNoSite, "This server does not belong to a site yet.", "Install it from the install stick."}
}

func reasonForeign(disks []Disk, beside bool) Reason {
	text := upper(wheres(disks)) + " " + belongs(len(disks)) + " to another " + siteName(*disks[0].Label) + ". Nothing was written to it."
	next := "Put in a disk set of this site. To use these disks here, erase them with the install stick."
	if beside {
		next = "Power off, take out " + wheres(disks) + ", and power on."
	}
	return Reason{CodeForeign, text, next}
}

func belongs(n int) string {
	if n == 1 {
		return "belongs"
	}
	return "belong"
}

func reasonMixed(sets []diskSet) Reason {
	return Reason{
		CodeMixed, "Disks of different sets are mixed in this server: " + describe(sets) + ".",
		"Power off. Sort the disks so that each server holds the disks of one set only, and power on.",
	}
}

func reasonTwoSets(sets []diskSet) Reason {
	return Reason{
		CodeTwoSets, "More than one whole set is in this server: " + describe(sets) + ".",
		"Power off, leave one set in and take the other out, and power on.",
	}
}

func describe(sets []diskSet) string {
	var s []string
	for _, t := range sets {
		s = append(s, wheres(t.disks)+" "+is(len(t.disks))+" of "+setName(t.disks[0]))
	}
	return strings.Join(s, "; ")
}

func reasonFuture(disks []Disk) Reason {
	return Reason{
		CodeFuture, upper(wheres(disks)) + " " + has(len(disks)) + " a label from a newer ATLAS than the one on this server.",
		"Update this server, or put the set into the server that wrote it. Nothing was written.",
	}
}

func isFuture(labelErr string) bool { return strings.Contains(labelErr, "newer than this image knows") }

func reasonUnreadable(disks []Disk) Reason {
	return Reason{
		CodeUnreadable, "The label of " + wheres(disks) + " cannot be read: " + disks[0].LabelErr + ".",
		"Power off, push the disk in firmly or try it in another bay, and power on. If that does not help, start from the other disks of its set.",
	}
}

func reasonDiverged(disks []Disk) Reason {
	var s []string
	for _, d := range disks {
		s = append(s, fmt.Sprintf("%s last ran on server %s at %s (generation %d)", where(d), orUnknown(d.Label.Server),
			d.Label.Written.UTC().Format("2006-01-02 15:04 UTC"), d.Label.Generation))
	}
	return Reason{
		CodeDiverged, "These disks of one set ran apart, and each has data that the other lacks: " + strings.Join(s, "; ") + ".",
		"Choose which one to keep. What was written to the other since they parted will not be in the set; its disk is kept as it is until you have it wiped.",
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func reasonMdDiverged(a, b Disk) Reason {
	return Reason{
		CodeDiverged, "The array superblocks of " + where(a) + " and " + where(b) +
			" each count the other one as lost: both ran alone, and each has data that the other lacks.",
		"Choose which one to keep. What was written to the other since they parted will not be in the set; its disk is kept as it is until you have it wiped.",
	}
}

func reasonGivenUp(d Disk) Reason {
	return Reason{
		CodeGivenUp, upper(where(d)) + " was set aside: an operator chose to keep another disk of its set.",
		"Put in the disks that were kept. If they are lost, choose to start with this disk.",
	}
}

func reasonCopies(d []Disk) Reason {
	return Reason{
		CodeCopies, upper(wheres(d)) + " carry the same label: one is a copy of the other.",
		"Power off, take the copy out, and power on.",
	}
}

func reasonArray(d Disk) Reason {
	return Reason{
		CodeArray, "The label of " + where(d) + " and the array on it do not belong together: somebody wrote to it outside ATLAS.",
		"Power off, take that disk out, and power on; or choose to start without it.",
	}
}

// reasonUnfinished tells of disks whose own labels count them out: a rebuild onto them had not finished.
func reasonUnfinished(disks []Disk) Reason {
	return Reason{
		CodeNotEnough, upper(wheres(disks)) + " " + has(len(disks)) + " not been rebuilt to the end and " + does(len(disks)) + " not hold all data of the set.",
		"Power off, put in the disks that the set last ran on, and power on.",
	}
}

func does(n int) string {
	if n == 1 {
		return "does"
	}
	return "do"
}

func reasonNotEnough(r resolved) Reason {
	l := r.label
	var text strings.Builder
	fmt.Fprintf(&text, "Only %d of %d disks of the %s set %s usable, too few for %s.", len(r.members), len(l.Members), l.Role,
		is(len(r.members)), strings.ToUpper(string(l.Level)))
	if len(r.absent) > 0 {
		text.WriteString(" Not here: " + nameds(l, r.absent) + ".")
	}
	for _, m := range r.members {
		if m.Recovering {
			text.WriteString(" " + upper(where(m)) + " was still being rebuilt and does not hold all data.")
		}
	}
	for _, b := range r.behind {
		text.WriteString(" " + upper(where(b.disk)) + " cannot be used: " + b.why + ".")
	}
	return Reason{CodeNotEnough, text.String(), "Power off, put the missing disks of the set into the bays, and power on."}
}

// reasonAbsent tells of each absent member what is known of it.
func reasonAbsent(v View, s sorted, l Label, r resolved) []Reason {
	var why []Reason
	for _, i := range r.absent {
		if p := holder(v, l, i); p != "" {
			why = append(why, reasonHalf(l, i, p))
			continue
		}
		if d, ok := looksLike(s.bad, l, i); ok {
			why = append(why, Reason{
				CodeUnreadable, upper(where(d)) + " seems to belong to this set, but its label cannot be read: " + d.LabelErr + ".",
				"Power off, push it in firmly, and power on. If it stays so, choose to start without it.",
			})
			continue
		}
		var text strings.Builder
		text.WriteString(upper(named(l, i)) + " of the " + string(l.Role) + " set is not in this server, and nothing records that it left.")
		for _, m := range r.members {
			for _, slot := range m.Missing {
				if slot == i {
					text.WriteString(" " + upper(where(m)) + " ran on without it, so it is the newer one, if nobody has started the other since.")
				}
			}
		}
		why = append(why, Reason{
			CodeAbsent, text.String(),
			"Power off, put the missing disk into its bay, and power on. If it is lost, choose to start without it, and never put it into a server again unwiped.",
		})
	}
	return why
}

// holder names the server that tells that it holds member i, "" if none does.
func holder(v View, l Label, i int) string {
	for _, p := range v.Peers {
		for _, h := range p.Holds {
			if p.Reachable && h.Set == l.Set && h.Member == l.Members[i].ID {
				return p.Server
			}
		}
	}
	return ""
}

// looksLike finds a disk without a readable label that by its serial or array is member i.
func looksLike(disks []Disk, l Label, i int) (Disk, bool) {
	for _, d := range disks {
		if d.Serial != "" && d.Serial == l.Members[i].Serial || d.Array != "" && d.Array == l.Array {
			return d, true
		}
	}
	return Disk{}, false
}

func reasonHalf(l Label, i int, server string) Reason {
	return Reason{
		CodeHalf, upper(named(l, i)) + " of this set is in server " + server + ": the set is split between two servers.",
		"Power off both servers, put all disks of the set into one of them, and power on.",
	}
}

func reasonNewerElsewhere(server string) Reason {
	return Reason{
		CodeNewerElsewhere, "Server " + server + " holds a disk of this set that ran without the disks here and may have newer data.",
		"Power off both servers, put the disks of the set into one of them, and power on; it then tells which is which.",
	}
}

func reasonSetElsewhere(server string) Reason {
	return Reason{
		CodeSetElsewhere, "Server " + server + " is running this very set with its other disk.",
		"Power off this server, and put its disk into the bay of server " + server + ".",
	}
}

func reasonPrimaryElsewhere(server string) Reason {
	return Reason{
		CodePrimaryElsewhere, "Server " + server + " is already serving the office as the primary.",
		"If this server is to take over, power off server " + server + " first, then power this one off and on.",
	}
}

func reasonTwoPrimaries(server string) Reason {
	return Reason{
		CodeTwoPrimaries, "Server " + server + " holds another primary set of this site.",
		"Take the set that is not to be used out of its server, and power on again; or choose to start this one.",
	}
}

func reasonRemembered(v View, server string) Reason {
	who := "Server " + server + " remembers"
	if server == v.Server {
		who = "This server remembers"
	}
	return Reason{
		CodeRemembered, who + " that this set went on with another disk after the disks here were last used: the data here is old.",
		"Put in the disk that was used last. If it is lost, choose to start with what is here.",
	}
}

func reasonSilent(server string) Reason {
	return Reason{
		CodeSilent, "Server " + server + " does not answer, so it cannot say whether it holds the missing disk.",
		"Power server " + server + " on and check its network cable.",
	}
}

func reasonBooting(server string) Reason {
	return Reason{CodeSilent, "Server " + server + " is still booting and cannot say yet whether it holds the missing disk.", "Wait a minute and try again."}
}

func reasonPeerUnreadable(p Attestation) Reason {
	return Reason{
		CodeSilent, "Server " + p.Server + " has a disk whose label it cannot read (serial " + list(p.Unreadable) + "): it may be the missing one.",
		"Look whether that is the missing disk.",
	}
}

func reasonOrderSet(v View, s sorted) Reason {
	text := "The order names a set that is not in this server."
	if len(s.sets) > 0 {
		text += " Here: " + describe(s.sets) + "."
	}
	return Reason{CodeOrder, text, "Choose again from the disks that are here."}
}

func reasonOrderMembers(t diskSet, missing []string) Reason {
	return Reason{
		CodeOrder, "The order names disks that are not here (" + list(missing) + "). Of that set are here: " + wheres(t.disks) + ".",
		"Choose again from the disks that are here.",
	}
}

func reasonOrderMix(d Disk) Reason {
	return Reason{
		CodeOrder, "The order cannot be followed: " + where(d) + " does not hold the same data as the others that were chosen.",
		"Choose the disks of one side only. The other side can be wiped and rebuilt from them afterwards.",
	}
}

func reasonUnknown() Reason {
	return Reason{CodeUnknown, "Nothing in this server may be started.", "Ask for help and have the list of disks ready."}
}
