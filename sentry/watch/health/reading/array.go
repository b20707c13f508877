package reading

import (
	"strconv"
	"strings"
	"time"
)

// Array is an md array (the kernel's Documentation/admin-guide/md.rst).
type Array struct {
	Name     string        `json:"name"` // "md127"
	Level    string        `json:"level"`
	Action   string        `json:"action"`             // "idle", "check", "resync", "recover", "repair", "reshape"
	Last     string        `json:"last,omitempty"`     // the action before
	Mismatch uint64        `json:"mismatch,omitempty"` // sectors that differed between the disks in the last check
	Percent  int           `json:"percent,omitempty"`  // of Action done
	Speed    uint64        `json:"speed,omitempty"`    // bytes a second
	Left     time.Duration `json:"left_ns,omitempty"`  // 0: not known
}

// Arrays reads /sys/block/md*.
func (r Root) Arrays() []Array {
	var out []Array
	for _, n := range r.names("sys/block") {
		if !strings.HasPrefix(n, "md") || !r.exists("sys/block", n, "md") {
			continue
		}
		dir := "sys/block/" + n + "/md/"
		a := Array{Name: n, Level: r.word(dir + "level"), Action: r.word(dir + "sync_action"), Last: r.word(dir + "last_sync_action"), Mismatch: r.count(dir + "mismatch_cnt")}
		if a.Action != "idle" && a.Action != "" && a.Action != "frozen" {
			a.Percent, a.Speed, a.Left = progress(r.word(dir+"sync_completed"), r.count(dir+"sync_speed"))
		}
		out = append(out, a)
	}
	return out
}

// maxLeft keeps what is left of a sync that stands still within what a Duration holds.
const maxLeft = 10 * 365 * 24 * time.Hour

// progress of "sectors / sectors" at KiB a second.
func progress(completed string, speed uint64) (percent int, bytes uint64, left time.Duration) {
	a, b, _ := strings.Cut(completed, "/")
	done, err1 := strconv.ParseUint(strings.TrimSpace(a), 10, 48)
	all, err2 := strconv.ParseUint(strings.TrimSpace(b), 10, 48)
	if err1 != nil || err2 != nil || all == 0 || done > all {
		return 0, 0, 0
	}
	percent = int(done * 100 / all)
	if speed == 0 || speed > 1<<40 {
		return percent, 0, 0
	}
	seconds := (all - done) / 2 / speed
	return percent, speed << 10, min(time.Duration(min(seconds, uint64(maxLeft/time.Second)))*time.Second, maxLeft)
}
