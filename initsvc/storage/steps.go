package storage

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"sayasystems.com/atlas/roles"
)

// The functions here put the steps of package roles together to those that the keeper writes. They are pure.

// reasonRebuilding is why the label does not count on a disk that is in its slot.
const reasonRebuilding = "not yet rebuilt"

// ejected records members as having left.
func ejected(l roles.Label, members []int, why func(i int) string, w Writer, now time.Time) roles.Label {
	for _, i := range members {
		l = l.Eject(i, why(i))
	}
	return signed(l, w, now)
}

// replaced gives slot i to another disk that is not yet part of the set: a new membership, recorded as ejected until joined.
func replaced(l roles.Label, i int, d roles.Disk, w Writer, now time.Time) roles.Label {
	l = l.Join(i, d, newUUID())
	l.Members[i].Ejected, l.Members[i].Reason = l.Generation, reasonRebuilding
	return signed(l, w, now)
}

// joined makes the disk of slot i, now rebuilt, a full member.
func joined(l roles.Label, i int, d roles.Disk, w Writer, now time.Time) roles.Label {
	return signed(l.Join(i, d, l.Members[i].ID), w, now)
}

// signed says who writes the label, and when. l must be the caller's own.
func signed(l roles.Label, w Writer, now time.Time) roles.Label {
	l.Server, l.Written = w.Server, now.UTC()
	if w.Image != "" {
		l.Image = w.Image
	}
	return l
}

// slotOf finds the slot of a disk of the set by its membership, or -1.
func slotOf(l roles.Label, d roles.Disk) int {
	if d.Label == nil || d.Label.Set != l.Set {
		return -1
	}
	id := d.Label.ID()
	return slices.IndexFunc(l.Members, func(m roles.Member) bool { return m.ID == id })
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newArrayUUID makes a UUID as mdadm prints it.
func newArrayUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	h := hex.EncodeToString(b[:])
	return h[:8] + ":" + h[8:16] + ":" + h[16:24] + ":" + h[24:]
}
