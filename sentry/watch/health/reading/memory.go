package reading

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Memory is the server's, in bytes.
type Memory struct {
	Total     uint64 `json:"total"`
	Available uint64 `json:"available"` // what programs can still get, caches counted in
	SwapTotal uint64 `json:"swap_total,omitempty"`
	SwapFree  uint64 `json:"swap_free,omitempty"`
}

// Memory reads /proc/meminfo (proc_meminfo(5)).
func (r Root) Memory() (Memory, error) {
	s, err := r.text("proc/meminfo")
	if err != nil {
		return Memory{}, err
	}
	return parseMemory(s)
}

func parseMemory(s string) (Memory, error) {
	var m Memory
	seen := 0
	for line := range strings.Lines(s) {
		key, value, _ := strings.Cut(line, ":")
		to := map[string]*uint64{"MemTotal": &m.Total, "MemAvailable": &m.Available, "SwapTotal": &m.SwapTotal, "SwapFree": &m.SwapFree}[key]
		if to == nil {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 53)
		if err != nil {
			return Memory{}, fmt.Errorf("/proc/meminfo: %s: %w", key, err)
		}
		*to = kib << 10
		if key == "MemTotal" || key == "MemAvailable" {
			seen++
		}
	}
	if seen != 2 || m.Total == 0 || m.Available > m.Total || m.SwapFree > m.SwapTotal {
		return Memory{}, fmt.Errorf("/proc/meminfo makes no sense: %d bytes available of %d, %d bytes of swap free of %d", m.Available, m.Total, m.SwapFree, m.SwapTotal)
	}
	return m, nil
}

// Load is how many processes ran or waited on the average, and of how many processors there are.
type Load struct {
	One     float64 `json:"one"`
	Five    float64 `json:"five"`
	Fifteen float64 `json:"fifteen"`
	CPUs    int     `json:"cpus"`
}

// Load reads /proc/loadavg and counts the processors of /proc/stat.
func (r Root) Load() (Load, error) {
	s, err := r.text("proc/loadavg")
	if err != nil {
		return Load{}, err
	}
	stat, err := r.text("proc/stat")
	if err != nil {
		return Load{}, err
	}
	return parseLoad(s, stat)
}

func parseLoad(s, stat string) (Load, error) {
	var l Load
	f := strings.Fields(s)
	if len(f) < 3 {
		return Load{}, fmt.Errorf("/proc/loadavg: %q has no three numbers", s)
	}
	for i, to := range []*float64{&l.One, &l.Five, &l.Fifteen} {
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil || !(v >= 0 && v < 1e6) {
			return Load{}, fmt.Errorf("/proc/loadavg: %q is no load", f[i])
		}
		*to = v
	}
	for line := range strings.Lines(stat) {
		if n, ok := strings.CutPrefix(line, "cpu"); ok && n != "" && n[0] >= '0' && n[0] <= '9' {
			l.CPUs++
		}
	}
	if l.CPUs == 0 {
		return Load{}, fmt.Errorf("/proc/stat names no processor")
	}
	return l, nil
}

// Pressure is the share of time (percent of the last five minutes) in which work had to wait for something: Some of it, or (Full) all of it. The
// kernel's Documentation/accounting/psi.rst tells more.
type Pressure struct {
	CPU        float64 `json:"cpu"`         // some
	Memory     float64 `json:"memory"`      // some
	MemoryFull float64 `json:"memory_full"` // full
	IO         float64 `json:"io"`          // some
	IOFull     float64 `json:"io_full"`     // full
}

// Pressure reads /proc/pressure.
func (r Root) Pressure() (Pressure, error) {
	var p Pressure
	for _, v := range []struct {
		name       string
		some, full *float64
	}{{"cpu", &p.CPU, nil}, {"memory", &p.Memory, &p.MemoryFull}, {"io", &p.IO, &p.IOFull}} {
		s, err := r.text("proc/pressure", v.name)
		if err != nil {
			return Pressure{}, err
		}
		some, full, err := parsePressure(s)
		if err != nil {
			return Pressure{}, fmt.Errorf("/proc/pressure/%s: %w", v.name, err)
		}
		*v.some = some
		if v.full != nil {
			*v.full = full
		}
	}
	return p, nil
}

// parsePressure gives avg300 of both lines.
func parsePressure(s string) (some, full float64, err error) {
	found := false
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		for _, w := range f {
			text, ok := strings.CutPrefix(w, "avg300=")
			if !ok {
				continue
			}
			v, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(v) || v < 0 || v > 100 {
				return 0, 0, fmt.Errorf("%q is no share of time", w)
			}
			switch f[0] {
			case "some":
				some, found = v, true
			case "full":
				full = v
			}
		}
	}
	if !found {
		return 0, 0, fmt.Errorf("%q has no average", s)
	}
	return some, full, nil
}
