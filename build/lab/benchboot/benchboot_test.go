package benchboot

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/manifest"
)

func TestParseMemory(t *testing.T) {
	got := parseMemory("init 1000 900\nsystemd-udevd 3000 2500\nsshd 1 1\nsystemd-udevd 10 10\nbad line\ninit x y\n", supervisors(ours))
	want := Memory{RSS: map[string]int{"init": 1000, "systemd-udevd": 3010}, PSS: map[string]int{"init": 900, "systemd-udevd": 2510}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestReport(t *testing.T) {
	boot := func(s, kib int) Boot {
		d := time.Duration(s) * time.Second
		return Boot{Ready: d, Ports: map[int]time.Duration{80: d}, Memory: Memory{PSS: map[string]int{"init": kib}, RSS: map[string]int{"init": kib}}}
	}
	var out bytes.Buffer
	report(&out, manifest.Manifest{Kernel: "6.12"}, []Boot{boot(50, 10240), boot(90, 10240), boot(60, 10240)}, []Boot{boot(100, 40960), boot(80, 40960), boot(120, 40960)})
	for _, want := range []string{"60.0 s", "100.0 s", "0.60", "10.0 MiB", "40.0 MiB", "0.25", "time at most 0.7: reached", "memory at most 0.5: reached"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}
