package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/sentry/watch/health/reading"
)

// place is a filesystem that the server cannot do without.
type place struct{ name, title, dir, remedy, readOnly string }

func (r *rules) places() []place {
	out := []place{{
		"state", "the system disk's own partition", r.w.cfg.StateDir, "It holds small files only: see what lies there (`du -x " + layout.StateDir + "`) and remove what does not belong.",
		"Restart the server when it suits; if it happens again, replace the system disk: swap first, the disk set keeps all data.",
	}}
	if r.w.cfg.Facts().Serving {
		out = append(out, place{
			"set", "the disk set", r.w.cfg.SetDir, "Remove or move what is not needed (`du -x -d2 " + layout.SetDir + "` tells where it is), or put larger disks in.",
			"Services cannot write any more. Swap the disk sets' servers only after a look: the fault may be the disks'. Restart this server; the set is checked then.",
		})
	}
	return out
}

func (r *rules) filesystems(_ context.Context, now time.Time) ([]claim, error) {
	mounts, err := r.w.cfg.Root.Mounts()
	if err != nil && !errors.Is(err, reading.ErrAbsent) {
		return nil, err
	}
	var out []claim
	var list []Filesystem
	for _, p := range r.places() {
		s, err := r.w.cfg.Statfs(p.dir)
		if err != nil {
			return nil, err
		}
		m := mounts[p.dir]
		f := Filesystem{Name: p.name, Space: s, ReadOnly: m.ReadOnly}
		dev := strings.TrimPrefix(m.Source, "/dev/")
		if m.ReadOnly {
			out = append(out, claim{
				Finding: finding("read-only-"+p.name, "critical", p.title, fmt.Sprintf("%s can only be read: the kernel has locked its filesystem, most often since a disk or its cable failed. Nothing new is stored.", capital(p.title)), p.readOnly),
				because: []string{"fs " + dev, "disk " + strings.TrimRight(dev, "0123456789"), "io " + strings.TrimRight(dev, "0123456789")},
				short:   p.title + " can only be read, nothing new is stored",
			})
		}
		if n := r.w.cfg.Root.Ext4Errors(m); n > 0 {
			out = append(out, claim{
				Finding: finding("damaged-"+p.name, "warning", p.title, fmt.Sprintf("The filesystem of %s has found %d errors in itself.", p.title, n),
					"Restart the server at a quiet hour: the filesystem is checked and mended then. If it comes back, a disk, a cable or the memory is at fault."),
				is: []string{"fs " + dev}, short: "its filesystem has found errors in itself",
			})
		}
		full, at := r.fullness(p, s, now)
		f.FullAt = at
		out = append(out, full...)
		list = append(list, f)
	}
	r.w.note(func(n *Numbers) { n.Filesystems = merge(n.Filesystems, list, "esp") })
	return out, nil
}

// merge gives list and what of old is called keep: the sources of the filesystems are looked at in their own times.
func merge(old, list []Filesystem, keep ...string) []Filesystem {
	out := slices.Clone(list)
	for _, f := range old {
		if slices.Contains(keep, f.Name) {
			out = append(out, f)
		}
	}
	return out
}

// fullness judges space, inodes, and where they are going.
func (r *rules) fullness(p place, s reading.Space, now time.Time) ([]claim, time.Time) {
	if s.Size == 0 {
		return nil, time.Time{}
	}
	var out []claim
	warn, crit := min(float64(s.Size)*spaceWarn/100, spaceMostWarn), min(float64(s.Size)*spaceCrit/100, spaceMostCrit)
	own := r.w.cfg.Facts().Kind == hardware
	if !own { // a lab's servers share the filesystem of the machine that they run on: what only may become tight is not theirs
		warn = crit
	}
	r.judge(&out, -float64(s.Free), falling(warn, crit, crit*spaceBack), claim{
		Finding: finding("space-"+p.name, "", p.title, fmt.Sprintf("%s is nearly full: %s of %s are free. When it is full, services fail.", capital(p.title), bytes(s.Free), bytes(s.Size)), p.remedy),
		after:   cheap, hold: 2 * cheap, is: []string{"space " + p.name},
	})
	if s.Inodes > 0 {
		used := 100 * (1 - float64(s.InodesFree)/float64(s.Inodes))
		r.judge(&out, used, limit{inodesWarn, inodesCrit, inBack}, claim{
			Finding: finding("inodes-"+p.name, "", p.title, fmt.Sprintf("%s has room for %d more files only, of %d. Then no new ones can be made, though there is space.", capital(p.title), s.InodesFree, s.Inodes),
				"Look for a folder with very many small files (old sessions, queues, caches) and empty it."),
			after: cheap, hold: 2 * cheap,
		})
	}
	if !own {
		return out, time.Time{}
	}
	t := r.space[p.name]
	if t == nil {
		t = &trend{}
		r.space[p.name] = t
	}
	t.add(now, float64(s.Size-min(s.Free, s.Size)))
	at, ok := t.reaches(float64(s.Size), now)
	if !ok {
		return out, time.Time{}
	}
	r.judge(&out, -float64(at.Sub(now)), falling(float64(fullWarn), 0, float64(fullBack-fullWarn)), claim{
		Finding: finding("fills-"+p.name, "", p.title, fmt.Sprintf("%s will be full on %s, if it goes on as in the last hours: %s of %s are free.", capital(p.title), at.Local().Format("Monday, 2 January, 15:04"), bytes(s.Free), bytes(s.Size)),
			"See what grows. "+p.remedy),
		after: 2 * trendEvery, hold: trendHold, because: []string{"space " + p.name, "log"}, short: fmt.Sprintf("%s will be full on %s", p.title, at.Local().Format("Monday, 2 January")),
	})
	return out, at
}

// esp looks at the boot partition, which is not mounted while the server runs.
func (r *rules) esp(context.Context, time.Time) ([]claim, error) {
	dev, err := r.w.cfg.Root.Partition(layout.ESP)
	if err != nil {
		return nil, err
	}
	s, err := r.w.cfg.Root.FAT(dev)
	if err != nil {
		return nil, err
	}
	r.w.note(func(n *Numbers) {
		n.Filesystems = merge([]Filesystem{{Name: "esp", Space: s}}, merge(nil, n.Filesystems), "esp")
	})
	var out []claim
	if s.Size == 0 {
		return nil, nil
	}
	r.judge(&out, 100*(1-float64(s.Free)/float64(s.Size)), limit{espWarn, 0, espBack}, claim{
		Finding: finding("space-esp", "", "the boot partition", fmt.Sprintf("The partition that the server boots from is nearly full: %s of %s are free. An update may find no room.", bytes(s.Free), bytes(s.Size)),
			"Nothing but the two versions of the system belongs there. Ask the vendor what to remove before the next update."),
	})
	return out, nil
}

func (r *rules) arrays(_ context.Context, _ time.Time) ([]claim, error) {
	list := r.w.cfg.Root.Arrays()
	if len(list) == 0 {
		r.w.note(func(n *Numbers) { n.Arrays = nil })
		return nil, fmt.Errorf("no RAID array runs: %w", reading.ErrAbsent)
	}
	r.w.note(func(n *Numbers) { n.Arrays = list })
	var out []claim
	for _, a := range list {
		if a.Mismatch > 0 && a.Action == "idle" && a.Last == "check" {
			out = append(out, claim{
				Finding: finding("mismatch-"+a.Name, "warning", "disk set", fmt.Sprintf("At the last check the disks of the set did not hold the same in %d places (sectors). Which of them is right is not known; one of the disks, a cable or the memory may be at fault.", a.Mismatch),
					"Look at the other findings about disks and memory. Then have it made equal: `echo repair > /sys/block/"+a.Name+"/md/sync_action`, and a day later check again (`echo check`)."),
				because: []string{"any disk", "dimm"}, short: "the disks of the set do not hold the same everywhere",
			})
		}
		if a.Left > syncSlow {
			out = append(out, claim{
				Finding: finding("sync-slow-"+a.Name, "warning", "disk set", fmt.Sprintf("The disk set's %s would take %d days more at its speed of now (%s a second).", actionWord(a.Action), int(a.Left.Hours()/24), bytes(a.Speed)),
					"If the office works hard just now, it gets faster at night. Else one of the disks is failing: look at the findings about disks."),
				after: syncSlowAfter, hold: syncSlowAfter, because: []string{"any disk", "any io"}, short: "the disk set's " + actionWord(a.Action) + " is very slow",
			})
		}
	}
	return out, nil
}

func actionWord(a string) string {
	switch a {
	case "recover", "resync", "reshape":
		return "rebuild"
	}
	return "check"
}
