package health

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/sentry/watch/health/reading"
)

// disks asks each disk that is awake for its own word.
func (r *rules) disks(ctx context.Context, now time.Time) ([]claim, error) {
	facts := r.w.cfg.Facts()
	if facts.Inventory == nil {
		return nil, errLater
	}
	var out []claim
	var list []Disk
	var errs []error
	asked := 0
	for _, d := range facts.Inventory.Disks {
		name := strings.TrimPrefix(d.Dev, "/dev/")
		if d.Removable || d.Bus == "mmc" || d.Bus == "virtio" || !r.w.cfg.Root.Has(name) {
			continue
		}
		asked++
		s, err := r.ask(ctx, d.Dev)
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("smartctl: %w in this image (service pack hardware)", reading.ErrAbsent)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", facts.diskName(name), err))
			continue
		}
		list = append(list, Disk{Dev: name, Bay: d.Bay, Serial: d.Serial, SMART: s})
		out = append(out, r.disk(facts, d, name, s, now)...)
	}
	r.w.note(func(n *Numbers) { n.Disks = list })
	if asked == 0 {
		return nil, fmt.Errorf("no disk that could tell: %w", reading.ErrAbsent)
	}
	// The claims of the others count all the same: those about a disk that does not answer are its own finding.
	for _, err := range errs {
		out = append(out, claim{
			Finding: finding("disk-silent", "warning", "disks", "A disk does not tell how it does: "+err.Error()+".", "If it stays so, replace the disk."),
			after:   everyDisk, is: []string{"any disk"},
		})
	}
	return out, nil
}

func (r *rules) ask(ctx context.Context, dev string) (reading.SMART, error) {
	ctx, cancel := context.WithTimeout(ctx, diskAnswers)
	defer cancel()
	out, err := r.w.cfg.Run(ctx, "smartctl", "--json", "--all", "--nocheck", "standby", dev)
	if err != nil {
		return reading.SMART{}, err
	}
	return reading.ParseSMART(out)
}

// nvmeWarnings words the bits of NVMe's critical warning (NVM Express base specification, SMART / health information).
func nvmeWarnings(bits int) string {
	var w []string
	for i, s := range []string{"its spare room is used up", "it is too hot or too cold", "it has become unreliable", "it can only be read", "its safety for power cuts has failed", "its persistent memory has failed"} {
		if bits&(1<<i) != 0 {
			w = append(w, s)
		}
	}
	if len(w) == 0 {
		return fmt.Sprintf("warning %#x", bits)
	}
	return strings.Join(w, ", ")
}

// disk judges one disk by the worst of what it tells: one finding for one disk, but for its heat and its cable.
func (r *rules) disk(facts Facts, d hwcheck.Disk, name string, s reading.SMART, now time.Time) []claim {
	if s.Asleep || s.None {
		// What was told of a disk that sleeps now is as true as before: its counters do not shrink.
		if sev := r.w.severity("health-disk-" + slug(name)); s.Asleep && sev != "" {
			if c, ok := r.w.standing("health-disk-"+slug(name), sev); ok {
				return []claim{c}
			}
		}
		return nil
	}
	var out []claim
	disk := facts.diskName(name)
	severity, why := "", ""
	say := func(sev string, format string, args ...any) {
		if severity == "" || rank(sev) < rank(severity) {
			severity = sev
		}
		if why != "" {
			why += "; "
		}
		why += fmt.Sprintf(format, args...)
	}
	heat := s.Warning & 2
	if s.Failing && s.Warning&^2 == 0 && heat == 0 {
		say("critical", "it says itself that it is failing")
	}
	if s.Warning&^2 != 0 {
		say("critical", "it says itself: %s", nvmeWarnings(s.Warning&^2))
	} else if s.SpareLow > 0 && s.Spare < s.SpareLow {
		say("critical", "only %d %% of its spare room are left", s.Spare)
	}
	if s.Pending > 0 {
		say("warning", "%d places cannot be read", s.Pending)
	}
	if n := max(s.Uncorrectable, s.Media); n > 0 {
		say("warning", "%d times data could not be read from it", n)
	}
	if s.Reallocated >= reallocatedWarn {
		say("warning", "%d bad places have been replaced", s.Reallocated)
	}
	if s.SelfTest != "" {
		say("warning", "its self-test has failed (%s)", s.SelfTest)
	}
	if s.Wear >= wearWarn {
		say("warning", "it is worn: %d %% of the life that its maker gives it are used", s.Wear)
	}
	if severity != "" {
		head := capital(disk) + " begins to fail"
		if severity == "critical" {
			head = capital(disk) + " is failing"
		}
		risk := "When it fails, this server stops; the disk set keeps all data."
		if d.Bay != 0 {
			risk = "If another disk of the set fails too, its data may be lost."
		}
		out = append(out, claim{
			Finding: finding("disk-"+slug(name), severity, facts.diskPlace(name), head+": "+why+". "+risk, facts.diskRemedy(name)),
			hold:    smartHold, is: []string{"disk " + name, "disk " + controller(name), "any disk"},
		})
	}
	hot := limit{diskHot, diskTooHot, tempBack}
	if d.Bus == "nvme" {
		hot = limit{nvmeHot, nvmeTooHot, tempBack}
		if s.TempWarn > 0 && s.TempLimit > s.TempWarn {
			hot = limit{float64(s.TempWarn), float64(s.TempLimit), tempBack}
		}
	}
	if heat != 0 && s.Temperature == 0 {
		s.Temperature = int(hot.warn)
	}
	r.judge(&out, float64(s.Temperature), hot, claim{
		Finding: finding("disk-hot-"+slug(name), "", facts.diskPlace(name), fmt.Sprintf("%s is too hot: %d °C. Disks that are hot fail early.", capital(disk), s.Temperature),
			"See that nothing blocks the air, that all fans turn, and that the room is cool."),
		because: []string{"fan"}, is: []string{"heat", "hot " + controller(name)}, short: fmt.Sprintf("%s is %d °C hot", disk, s.Temperature),
	})
	c := r.crc[d.Serial+name]
	if c == nil {
		c = &counter{}
		r.crc[d.Serial+name] = c
	}
	r.judge(&out, float64(c.growth(now, s.CRC, crcWindow)), limit{crcWarn, 0, crcWarn / 2}, claim{
		Finding: finding("disk-cable-"+slug(name), "", facts.diskPlace(name), fmt.Sprintf("What %s reads and writes is damaged on the way (%d times so far, more than %d of them in a day), and sent again.", disk, s.CRC, crcWarn),
			"Push the disk in firmly. If it goes on, the cable or the bay's contacts are at fault: put the disk into another bay, or replace the cable."),
		hold: smartHold, is: []string{"cable " + name, "any disk"},
	})
	return out
}

// controller of an NVMe disk: nvme0 of nvme0n1.
func controller(name string) string {
	if !strings.HasPrefix(name, "nvme") {
		return name
	}
	i := strings.LastIndexByte(name, 'n')
	return name[:i]
}

// gone tells of a disk inside the server that has vanished; those of a set are init's.
func (r *rules) gone(context.Context, time.Time) ([]claim, error) {
	facts := r.w.cfg.Facts()
	if facts.Inventory == nil {
		return nil, errLater
	}
	var out []claim
	for _, d := range facts.Inventory.Disks {
		name := strings.TrimPrefix(d.Dev, "/dev/")
		if d.Bay != 0 || d.Removable || r.w.cfg.Root.Has(name) {
			continue
		}
		out = append(out, claim{
			Finding: finding("disk-gone-"+slug(name), "critical", name, capital(facts.diskName(name))+" has vanished while the server ran: it has failed, or its cable or controller has.", facts.diskRemedy(name)),
			after:   diskGoneAfter, is: []string{"disk " + name, "disk " + controller(name), "any disk"},
		})
	}
	return out, nil
}
