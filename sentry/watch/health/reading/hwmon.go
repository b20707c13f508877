package reading

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Kinds of sensors.
const (
	Temperature = "temperature" // °C
	Fan         = "fan"         // turns a minute
	Voltage     = "voltage"     // V
	Supply      = "supply"      // power supply: 1 = delivers, 0 = does not
)

// Sensor is one reading of a chip that watches hardware (the kernel's Documentation/hwmon/sysfs-interface). Limits are those that the chip knows,
// 0 where it knows none; many boards have limits there that nobody has ever set.
type Sensor struct {
	ID    string  `json:"id"`   // stable: "coretemp-0/temp1"
	Chip  string  `json:"chip"` // the driver's name: "coretemp"
	Name  string  `json:"name"` // "Package id 0", "fan2"
	Kind  string  `json:"kind"`
	Value float64 `json:"value"`
	Min   float64 `json:"min,omitempty"`
	Max   float64 `json:"max,omitempty"`
	Crit  float64 `json:"crit,omitempty"`
	Alarm bool    `json:"alarm,omitempty"` // the chip itself says that a limit is broken
	Fault bool    `json:"fault,omitempty"` // the sensor itself is broken or not connected
}

var sensorInput = regexp.MustCompile(`^((temp|fan|in|power|curr)[0-9]{1,3})_input$`)

// Sensors reads /sys/class/hwmon. drivetemp is left out: reading it may keep a disk from going to sleep; smartctl tells its temperature.
func (r Root) Sensors() []Sensor {
	const base = "sys/class/hwmon"
	var out []Sensor
	used := map[string]int{}
	dirs := r.names(base)
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
	for _, h := range dirs {
		dir := filepath.Join(base, h)
		chip := r.word(dir, "name")
		if chip == "" || chip == "drivetemp" {
			continue
		}
		// hwmonN is in the order of discovery; the device below it is not.
		id := chip + "-" + r.deviceName(dir)
		if used[id]++; used[id] > 1 {
			id += "-" + strconv.Itoa(used[id])
		}
		alarms, inputs := false, false
		for _, n := range r.names(dir) {
			if strings.HasSuffix(n, "_alarm") || strings.HasSuffix(n, "_fault") {
				alarms = alarms || r.word(dir, n) == "1"
			}
			m := sensorInput.FindStringSubmatch(n)
			if m == nil {
				continue
			}
			inputs = true
			if s, ok := r.sensor(dir, m[1], m[2]); ok {
				s.ID, s.Chip = id+"/"+m[1], chip
				out = append(out, s)
			}
		}
		if inputs && isSupply(chip) {
			s := Sensor{ID: id + "/supply", Chip: chip, Name: "power supply " + r.deviceName(dir), Kind: Supply, Value: 1, Alarm: alarms}
			if v, ok := r.number(dir, "in1_input"); ok && v == 0 {
				s.Value = 0
			}
			out = append(out, s)
		}
	}
	return append(out, r.mains()...)
}

// isSupply tells the drivers of power supplies that speak PMBus.
func isSupply(chip string) bool {
	return slices.ContainsFunc([]string{"pmbus", "dps", "fsp", "crps", "cffps", "bel-pfe", "pfe", "acbel", "lcpsu", "corsair"}, func(p string) bool { return strings.HasPrefix(chip, p) })
}

// deviceName is the name of the device that a chip hangs on: "coretemp.0", "0-0058".
func (r Root) deviceName(dir string) string {
	p, err := filepath.EvalSymlinks(r.path(dir, "device"))
	if err != nil {
		return "0"
	}
	return filepath.Base(p)
}

func (r Root) sensor(dir, name, kind string) (Sensor, bool) {
	v, ok := r.number(dir, name+"_input")
	fault := r.word(dir, name+"_fault") == "1"
	if !ok && !fault {
		return Sensor{}, false
	}
	attr := func(what string) float64 {
		n, _ := r.number(dir, name+"_"+what)
		return float64(n)
	}
	s := Sensor{Name: r.word(dir, name+"_label"), Value: float64(v), Fault: fault}
	if s.Name == "" {
		s.Name = name
	}
	for _, a := range []string{"_alarm", "_min_alarm", "_max_alarm", "_crit_alarm", "_lcrit_alarm", "_emergency_alarm"} {
		s.Alarm = s.Alarm || r.word(dir, name+a) == "1"
	}
	s.Min, s.Max, s.Crit = attr("min"), attr("max"), attr("crit")
	switch kind {
	case "temp":
		s.Kind = Temperature
	case "in":
		s.Kind = Voltage
	case "fan":
		s.Kind = Fan
		return s, s.Value >= 0 && s.Value < 100_000
	default: // power and current: only their alarms count, those of a power supply
		return Sensor{}, false
	}
	s.Value, s.Min, s.Max, s.Crit = s.Value/1000, s.Min/1000, s.Max/1000, s.Crit/1000
	if s.Kind == Temperature {
		// Unconnected sensors read as the end of their scale, and unset limits likewise.
		for _, l := range []*float64{&s.Min, &s.Max, &s.Crit} {
			if *l < 20 || *l > 125 {
				*l = 0
			}
		}
		return s, s.Fault || s.Value > -40 && s.Value < 125
	}
	return s, true
}

// mains are power supplies that the firmware tells of (Documentation/ABI/testing/sysfs-class-power).
func (r Root) mains() []Sensor {
	var out []Sensor
	for _, n := range r.names("sys/class/power_supply") {
		if r.word("sys/class/power_supply", n, "type") != "Mains" {
			continue
		}
		if on, ok := r.number("sys/class/power_supply", n, "online"); ok {
			out = append(out, Sensor{ID: "mains/" + n, Chip: "mains", Name: "power supply " + n, Kind: Supply, Value: float64(min(max(on, 0), 1))})
		}
	}
	return out
}

// Number words a sensor's value.
func (s Sensor) Number() string {
	switch s.Kind {
	case Temperature:
		return fmt.Sprintf("%.0f °C", s.Value)
	case Fan:
		return fmt.Sprintf("%.0f turns a minute", s.Value)
	case Voltage:
		return fmt.Sprintf("%.2f V", s.Value)
	}
	return ""
}
