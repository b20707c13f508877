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
	report(&out, []*result{
		{name: "ATLAS", tree: 700, took: took, cpu: 101 * time.Millisecond, memory: 2048, most: 4096},
		{name: "lsyncd+rsync", tree: 700, took: slow},
		{name: "ATLAS", tree: 50000, took: slow},
		{name: "lsyncd+rsync", tree: 50000, took: []time.Duration{50 * time.Millisecond}},
	})
	for _, want := range []string{
		"| 700 | ATLAS | 101 | 50.0 ms | 99.0 ms | 100.0 ms |  | 0.001 s | 2.0 MiB | 4.0 MiB |", "| 700 | lsyncd+rsync | 1 | 200.0 ms | 200.0 ms | 200.0 ms | 0.250 |",
		"| 50000 | lsyncd+rsync | 1 | 50.0 ms | 50.0 ms | 50.0 ms | 4.000 |",
	} {
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
