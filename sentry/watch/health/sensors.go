package health

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/watch/health/reading"
)

func (r *rules) sensors(context.Context, time.Time) ([]claim, error) {
	list := r.w.cfg.Root.Sensors()
	if len(list) == 0 {
		return nil, fmt.Errorf("no sensor is told by the kernel: %w", reading.ErrAbsent)
	}
	numbers := make([]Sensor, len(list))
	for i, s := range list {
		numbers[i] = Sensor{ID: s.ID, Name: s.Name, Kind: s.Kind, Value: s.Value}
	}
	r.w.note(func(n *Numbers) { n.Sensors = numbers })
	var out []claim
	feeds := 0
	for _, s := range list {
		if s.Kind == reading.Supply && s.Value > 0 {
			feeds++
		}
	}
	for _, s := range list {
		switch s.Kind {
		case reading.Temperature:
			r.temperature(&out, s)
		case reading.Fan:
			r.fan(&out, s)
		case reading.Voltage:
			r.voltage(&out, s)
		case reading.Supply:
			if s.Alarm || s.Value == 0 && feeds > 0 {
				out = append(out, claim{
					Finding: finding("supply-"+slug(s.ID), "warning", s.Name, fmt.Sprintf("The %s does not deliver as it should. The server runs on the other one: if that fails too, it is off.", s.Name),
						"Look whether its cable is in and its socket has power; else replace the power supply. It can be done while the server runs."),
					after: sensorAfter, hold: sensorHold, is: []string{"supply"},
				})
			}
		}
	}
	return out, nil
}

// superIO are chips on boards whose limits are often what the chip had when it left the factory.
func superIO(chip string) bool {
	return slices.ContainsFunc([]string{"nct", "it8", "w83", "f71", "f81", "sch5", "lm7", "asus"}, func(p string) bool { return strings.HasPrefix(chip, p) })
}

// kept tells whether a limit may be believed, now that it is broken or not: on boards' chips only once it has been kept.
func (r *rules) kept(s reading.Sensor, broken bool) bool {
	if !broken {
		r.trusted[s.ID] = true
	}
	return !superIO(s.Chip) || r.trusted[s.ID]
}

func isCPU(chip string) bool {
	return slices.Contains([]string{"coretemp", "k10temp", "zenpower", "k8temp", "cpu_thermal"}, chip)
}

func (r *rules) temperature(out *[]claim, s reading.Sensor) {
	if s.Fault || superIO(s.Chip) { // theirs are in places that nobody knows
		return
	}
	l := limit{back: tempBack}
	what, next := "The sensor “"+s.Name+"” ("+s.Chip+")", "See that nothing blocks the air, that all fans turn, and that the room is cool."
	is, because := []string{"heat"}, []string{"fan"}
	switch {
	case s.Chip == "nvme":
		dev := strings.TrimPrefix(strings.Split(s.ID, "/")[0], "nvme-") // the controller; smartctl may tell the same of its disk
		what, l.warn, l.crit = capital(r.w.cfg.Facts().diskName(dev+"n1")), nvmeHot, nvmeTooHot
		because = []string{"fan", "hot " + dev}
	case isCPU(s.Chip):
		what, l.warn, l.crit = "The processor (“"+s.Name+"”)", cpuHot, cpuTooHot
		is = append(is, "cpu heat")
	}
	switch {
	case s.Crit > 0:
		l.crit, l.warn = s.Crit-1, s.Crit-tempBelow
		if s.Max > 0 && s.Max < s.Crit-tempBack && !isCPU(s.Chip) { // processors are made to run at their max
			l.warn = s.Max
		}
	case s.Max > 0 && l.crit == 0:
		l.warn = s.Max
	}
	if l.warn == 0 {
		return
	}
	r.judge(out, s.Value, l, claim{
		Finding: finding("hot-"+slug(s.ID), "", s.Name, fmt.Sprintf("%s is too hot: %s. It gets slower, wears faster, and may switch the server off.", what, s.Number()), next),
		after:   sensorAfter, hold: sensorAfter, is: is, because: because, short: fmt.Sprintf("%s is %s hot", s.Name, s.Number()),
	})
}

func (r *rules) fan(out *[]claim, s reading.Sensor) {
	if s.Value > 0 {
		r.fans[s.ID] = true
	}
	low := s.Min > 0 && s.Value < s.Min || s.Alarm
	if r.kept(s, low) && low || (s.Fault || s.Value == 0) && r.fans[s.ID] {
		words := "stands still"
		if s.Value > 0 {
			words = "turns too slowly (" + s.Number() + ")"
		}
		*out = append(*out, claim{
			Finding: finding("fan-"+slug(s.ID), "warning", s.Name, fmt.Sprintf("Fan “%s” (%s) %s. The server gets hot, and may switch itself off.", s.Name, s.Chip, words),
				"See that no cable is in its way and clean it; if it stays, replace it. On a secondary that disturbs nobody."),
			after: fanAfter, hold: sensorHold, is: []string{"fan"}, because: []string{"supply"}, short: fmt.Sprintf("fan “%s” %s", s.Name, words),
		})
	}
}

func (r *rules) voltage(out *[]claim, s reading.Sensor) {
	bad := s.Alarm || s.Min < s.Max && s.Max > 0 && (s.Value < s.Min || s.Value > s.Max)
	if r.kept(s, bad) && bad {
		*out = append(*out, claim{
			Finding: finding("voltage-"+slug(s.ID), "warning", s.Name, fmt.Sprintf("The voltage “%s” (%s) is not as it should be: %s. A power supply or the board may be failing; the server may stop without a word.", s.Name, s.Chip, s.Number()),
				"If there is a second power supply, see that both deliver. Else plan to replace the power supply."),
			after: fanAfter, hold: sensorHold, because: []string{"supply"}, short: fmt.Sprintf("the voltage “%s” is %s", s.Name, s.Number()),
		})
	}
}
