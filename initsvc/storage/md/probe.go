package md

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/roles"
)

// A marker says that a disk is being made a member: what is on it does not count. It lies in the label partition beside the two
// copies of the label, at a fixed place of the disk so that it is found before there is a partition table, and it is taken
// away when the first label is written.
const (
	markerText   = "ATLAS-UNFINISHED "
	markerSize   = 4096
	markerInPart = layout.LabelSize - markerSize
	labelStart   = 1 * layout.MiB
	memberStart  = labelStart + layout.LabelSize
)

func marker(set string) []byte {
	b := make([]byte, markerSize)
	copy(b, markerText+set+"\n")
	return b
}

// readMarker returns the set that a disk is being made a member of, or "".
func readMarker(r io.ReaderAt) string {
	b := make([]byte, markerSize)
	if _, err := r.ReadAt(b, labelStart+markerInPart); err != nil {
		return ""
	}
	rest, ok := bytes.CutPrefix(b, []byte(markerText))
	if !ok {
		return ""
	}
	set, _, ok := bytes.Cut(rest, []byte("\n"))
	if !ok || len(set) > 64 {
		return ""
	}
	return string(set)
}

// looker tells what is on a disk that is no member, as hwcheck.Content does.
type looker func(dev string) (blank bool, what string, err error)

// probe fills d from what is on the disk. It returns the set of the marker, if there is one that counts.
func probe(r io.ReaderAt, size, sector int64, d *roles.Disk, look looker) (mark string, err error) {
	if size < 16*layout.MiB {
		d.Content = "no room for anything"
		return "", nil
	}
	mark = readMarker(r)
	parts, err := readGPT(r, size, sector)
	if err != nil && !errors.Is(err, errNoGPT) {
		return "", fmt.Errorf("read %s: %w", d.Dev, err)
	}
	if label, ok := find(parts, layout.SetLabel); ok {
		probeMember(r, parts, label, d)
		return mark, nil
	}
	blank, what, err := look(d.Dev)
	switch {
	case err != nil:
		return "", err
	case blank:
		d.Blank = true
	case mark != "" && len(parts) == 0 && remnant(r, what):
		return mark, nil // cut off while the partition table was written
	default:
		d.Content = what
	}
	return "", nil
}

// remnant tells whether what a disk holds may be what is left of a GPT that was being written.
func remnant(r io.ReaderAt, what string) bool {
	mbr := make([]byte, 512)
	if _, err := r.ReadAt(mbr, 0); err != nil {
		return false
	}
	types := []byte{mbr[450], mbr[466], mbr[482], mbr[498]}
	protective := bytes.Equal(types, []byte{0xee, 0, 0, 0})
	for w := range strings.SplitSeq(what, ", ") {
		switch {
		case strings.HasPrefix(w, "GPT"), strings.HasPrefix(w, "data of an unknown kind"):
		case strings.HasPrefix(w, "MBR") && protective:
		default:
			return false
		}
	}
	return true
}

// probeMember reads a disk that is partitioned as a member.
func probeMember(r io.ReaderAt, parts []partition, label partition, d *roles.Disk) {
	l, err := roles.ReadLabel(io.NewSectionReader(r, label.Start, label.Size))
	if err == nil {
		d.Label = &l
	} else {
		d.LabelErr = err.Error()
	}
	member, ok := find(parts, layout.SetMember)
	if !ok {
		return
	}
	if s, err := readSuper(r, member.Start); err == nil {
		d.Array, d.Events, d.Missing, d.Recovering = s.Array, s.Events, s.Missing, s.Recovering
	}
}
