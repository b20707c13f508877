package engine

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkOneFile: how long one plain file takes from the write on the primary until it is live on the secondary, both in this process, among
// 700 others. Each server has a filesystem of its own on a file in TMPDIR: in memory, what is left is what the programs themselves take.
// After the write it waits until the action has ended, which does not count.
func BenchmarkOneFile(b *testing.B) {
	left, right := siteOf(b, plan{disk: true, prepare: func(s *server) {
		for i := range 700 {
			write(b, s.path(filepath.Join("etc/other", fmt.Sprint(i/50), fmt.Sprint(i))), fmt.Sprintf("setting = %d\n", i))
		}
		write(b, s.path("etc/bench/measured-0.conf"), "begun\n")
	}})
	eventually(b, "first state on right", func() bool { return right.engine.Status().InStep })
	var took, steps []time.Duration
	for n := 0; b.Loop(); n++ {
		pause()
		path, text := fmt.Sprintf("etc/bench/measured-%d.conf", n%10), fmt.Sprintf("write = %d\n", n)
		began := time.Now()
		write(b, left.path(path), text)
		for right.read(path) != text {
			time.Sleep(200 * time.Microsecond)
			if time.Since(began) > 20*time.Second {
				b.Fatalf("%s does not arrive", path)
			}
		}
		took = append(took, time.Since(began))
		for head, _ := left.engine.repo.Head("site"); ; time.Sleep(time.Millisecond) {
			if st := right.engine.Status(); st.InStep && st.Head != nil && st.Head.ID == head.ID || time.Since(began) > 20*time.Second {
				break
			}
		}
		steps = append(steps, time.Since(began))
	}
	for name, all := range map[string][]time.Duration{"live": took, "in-step": steps} {
		slices.Sort(all)
		for _, at := range []int{10, 50, 90} {
			b.ReportMetric(float64(all[len(all)*at/100].Microseconds())/1000, fmt.Sprintf("%s-p%d-ms", name, at))
		}
	}
	b.ReportMetric(0, "ns/op")
}
