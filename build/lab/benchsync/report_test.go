package benchsync

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	var took []time.Duration
	for i := range 101 {
		took = append(took, time.Duration(100-i)*time.Millisecond)
	}
	slow := []time.Duration{200 * time.Millisecond}
	var out bytes.Buffer
	report(&out, 101, []result{{name: "ATLAS", tree: 700, took: took, cpu: 101 * time.Millisecond, memory: 2048}, {name: "lsyncd+rsync", tree: 700, took: slow}})
	for _, want := range []string{"50.0 ms", "99.0 ms", "100.0 ms", "1.0 ms", "2.0 MiB", "p50 is 0.25 of lsyncd+rsync's"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}

func TestQuantileOfNothing(t *testing.T) {
	if got := at(nil, 0.5); got != 0 {
		t.Errorf("at(nil, 0.5) = %v; want 0", got)
	}
}
