package reading

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// SMART is what a disk tells of itself. Counters that it does not have are 0.
type SMART struct {
	Asleep bool `json:"asleep,omitempty"` // it was not woken to be asked; everything else is unknown then
	None   bool `json:"none,omitempty"`   // it tells nothing of itself, as many disks of virtual machines and on USB

	Failing     bool   `json:"failing,omitempty"` // by its own judgement
	Temperature int    `json:"temperature,omitempty"`
	Hours       uint64 `json:"hours,omitempty"`
	Wear        int    `json:"wear,omitempty"` // percent of the life that its maker gives it; may be above 100

	Reallocated   uint64 `json:"reallocated,omitempty"`   // sectors that were bad and have been replaced
	Pending       uint64 `json:"pending,omitempty"`       // sectors that cannot be read now
	Uncorrectable uint64 `json:"uncorrectable,omitempty"` // sectors that could not be read when it looked by itself, and reads that failed
	CRC           uint64 `json:"crc,omitempty"`           // damaged on the way: the cable
	SelfTest      string `json:"self_test,omitempty"`     // how the newest self-test failed; "" = it has not

	Warning   int    `json:"warning,omitempty"` // NVMe's bits of critical warning
	Spare     int    `json:"spare,omitempty"`   // NVMe: percent
	SpareLow  int    `json:"spare_low,omitempty"`
	Media     uint64 `json:"media,omitempty"`      // NVMe: data that could not be read
	TempWarn  int    `json:"temp_warn,omitempty"`  // NVMe's own limits
	TempLimit int    `json:"temp_limit,omitempty"` // 0 = it has none
}

// smartctl's JSON, as far as it is read here (smartctl(8), --json; there is no other description of it than its source).
type smartctl struct {
	Smartctl *struct {
		ExitStatus int `json:"exit_status"`
		Messages   []struct{ String, Severity string }
	}
	SmartSupport *struct{ Available, Enabled bool } `json:"smart_support"`
	SmartStatus  *struct{ Passed *bool }            `json:"smart_status"`
	Temperature  struct{ Current float64 }
	PowerOn      struct{ Hours float64 } `json:"power_on_time"`
	Endurance    struct {
		Percent json.Number `json:"current_percent"`
	} `json:"endurance_used"`
	Attributes struct {
		Table []struct {
			ID    int
			Value int
			Raw   struct{ Value json.Number }
			Name  string
		}
	} `json:"ata_smart_attributes"`
	SelfTests struct {
		Standard struct {
			Table []struct {
				Status struct {
					String string
					Passed *bool
				}
			}
		}
	} `json:"ata_smart_self_test_log"`
	NVMe *struct {
		Warning  json.Number `json:"critical_warning"`
		Spare    json.Number `json:"available_spare"`
		SpareLow json.Number `json:"available_spare_threshold"`
		Used     json.Number `json:"percentage_used"`
		Media    json.Number `json:"media_errors"`
		Celsius  json.Number `json:"temperature"`
	} `json:"nvme_smart_health_information_log"`
	NVMeLimits struct {
		Warning  json.Number `json:"warning"`
		Critical json.Number `json:"critical"`
	} `json:"nvme_composite_temperature_threshold"`
	Grown json.Number `json:"scsi_grown_defect_list"`
	SCSI  map[string]struct {
		Uncorrected json.Number `json:"total_uncorrected_errors"`
	} `json:"scsi_error_counter_log"`
}

// exitOpenFailed is the bit of smartctl's exit status for a device that could not be opened, or that sleeps and was left asleep (-n).
const exitOpenFailed = 1 << 1

// ParseSMART reads what `smartctl --json --all --nocheck standby` has printed.
func ParseSMART(out []byte) (SMART, error) {
	var j smartctl
	if err := json.Unmarshal(out, &j); err != nil {
		return SMART{}, fmt.Errorf("smartctl's answer: %w", err)
	}
	if j.Smartctl == nil {
		return SMART{}, fmt.Errorf("smartctl's answer is none of smartctl's")
	}
	var said []string
	for _, m := range j.Smartctl.Messages {
		if strings.Contains(strings.ToUpper(m.String), "STANDBY") || strings.Contains(strings.ToUpper(m.String), "SLEEP MODE") {
			return SMART{Asleep: true}, nil
		}
		if m.Severity == "error" {
			said = append(said, m.String)
		}
	}
	knows := j.SmartStatus != nil || j.NVMe != nil || len(j.Attributes.Table) > 0
	if !knows {
		switch {
		case j.Smartctl.ExitStatus&exitOpenFailed != 0 && len(said) == 0: // Debian's smartctl says it in text alone
			return SMART{Asleep: true}, nil
		case j.SmartSupport != nil && !j.SmartSupport.Available, j.Smartctl.ExitStatus == 0, unsupported(said):
			return SMART{None: true}, nil
		}
		return SMART{}, fmt.Errorf("smartctl: exit status %d: %s", j.Smartctl.ExitStatus, strings.Join(said, "; "))
	}
	s := SMART{
		Failing: j.SmartStatus != nil && j.SmartStatus.Passed != nil && !*j.SmartStatus.Passed, Temperature: celsius(j.Temperature.Current),
		Hours: uint64(min(max(j.PowerOn.Hours, 0), 1e7)), Wear: small(j.Endurance.Percent), Reallocated: natural(j.Grown),
	}
	s.ata(j)
	if n := j.NVMe; n != nil {
		s.Warning, s.Spare, s.SpareLow = small(n.Warning), small(n.Spare), small(n.SpareLow)
		s.Wear, s.Media = max(s.Wear, small(n.Used)), natural(n.Media)
		if s.Temperature == 0 {
			s.Temperature = celsius(float64(small(n.Celsius)))
		}
		s.TempWarn, s.TempLimit = celsius(float64(small(j.NVMeLimits.Warning))), celsius(float64(small(j.NVMeLimits.Critical)))
	}
	for _, c := range j.SCSI {
		s.Uncorrectable += natural(c.Uncorrected)
	}
	return s, nil
}

func unsupported(said []string) bool {
	for _, m := range said {
		m = strings.ToLower(m)
		if strings.Contains(m, "unknown usb bridge") || strings.Contains(m, "lacks smart capability") || strings.Contains(m, "unable to detect device type") {
			return true
		}
	}
	return false
}

// ata takes what the attributes say whose meaning makers agree on. The upper bytes of some raw values count something else.
func (s *SMART) ata(j smartctl) {
	for _, a := range j.Attributes.Table {
		raw := natural(a.Raw.Value)
		low := raw & 0xffffffff
		switch a.ID {
		case 5:
			s.Reallocated = low
		case 187:
			s.Uncorrectable = max(s.Uncorrectable, low&0xffff)
		case 197:
			s.Pending = low
		case 198:
			s.Uncorrectable = max(s.Uncorrectable, low)
		case 199:
			s.CRC = low
		case 177, 231, 233: // these count down from 100, where they are about wear
			n := strings.ToLower(a.Name)
			if a.Value >= 1 && a.Value <= 100 && (strings.Contains(n, "wear") || strings.Contains(n, "life_left") || strings.Contains(n, "lifetime_rem")) {
				s.Wear = max(s.Wear, 100-a.Value)
			}
		}
	}
	if t := j.SelfTests.Standard.Table; len(t) > 0 && t[0].Status.Passed != nil && !*t[0].Status.Passed {
		s.SelfTest = t[0].Status.String
		if s.SelfTest == "" {
			s.SelfTest = "failed"
		}
	}
}

func natural(n json.Number) uint64 {
	f, err := n.Float64()
	if err != nil || math.IsNaN(f) || f < 0 || f > 1<<62 {
		return 0
	}
	return uint64(f)
}

func small(n json.Number) int { return int(min(natural(n), 1000)) }

// celsius drops what no disk can have.
func celsius(f float64) int {
	if !(f > 0 && f < 125) {
		return 0
	}
	return int(f)
}
