package health

import (
	"context"
	"fmt"
	"time"
)

func (r *rules) memory(context.Context, time.Time) ([]claim, error) {
	m, err := r.w.cfg.Root.Memory()
	if err != nil {
		return nil, err
	}
	r.w.note(func(n *Numbers) { n.Memory = &m })
	var out []claim
	used := 100 * (1 - float64(m.Available)/float64(m.Total))
	c := claim{
		Finding: finding("memory", "", "memory", fmt.Sprintf("Only %s of %s of memory are left. When none is left, the kernel ends programs, and services fail.", bytes(m.Available), bytes(m.Total)),
			"See which service takes it: `atlas service list` shows their memory. Restart that one, let it take less, or put more memory into both servers."),
		after: memoryAfter, hold: memoryAfter, is: []string{"memory"},
	}
	if used >= memoryCrit {
		c.after = memoryCritAfter
	}
	r.judge(&out, used, limit{memoryWarn, memoryCrit, memoryBack}, c)
	if m.SwapTotal > 0 {
		used := 100 * (1 - float64(m.SwapFree)/float64(m.SwapTotal))
		r.judge(&out, used, limit{swapWarn, 0, swapBack}, claim{
			Finding: finding("swap", "", "memory", fmt.Sprintf("%.0f %% of the swap space is in use: memory has been short, and the server is slow when it is needed back.", used),
				"See which service takes the memory (`atlas service list`), or put more memory into both servers."),
			after: memoryAfter, hold: memoryAfter, because: []string{"memory"}, short: "much of the swap space is in use",
		})
	}
	return out, nil
}

func (r *rules) pressure(context.Context, time.Time) ([]claim, error) {
	p, err := r.w.cfg.Root.Pressure()
	if err != nil {
		return nil, err
	}
	r.w.note(func(n *Numbers) { n.Pressure = &p })
	var out []claim
	r.judge(&out, p.MemoryFull, limit{memoryStallWarn, 0, memoryStallBack}, claim{
		Finding: finding("memory-stall", "", "memory", fmt.Sprintf("For %.0f %% of the last five minutes everything waited for memory: the server is slow.", p.MemoryFull),
			"See which service takes the memory (`atlas service list`), or put more memory into both servers."),
		after: stallAfter, hold: stallAfter, because: []string{"memory"}, is: []string{"memory stall"}, short: "everything waits for memory again and again",
	})
	r.judge(&out, p.CPU, limit{cpuStallWarn, 0, cpuStallBack}, claim{
		Finding: finding("cpu-stall", "", "processor", fmt.Sprintf("For %.0f %% of the last five minutes work waited for a processor: the server has more to do than it can.", p.CPU),
			"See on the server what runs (top). If it is what the office needs, it needs a faster server; if a service runs wild, restart that."),
		after: stallAfter, hold: stallAfter, is: []string{"cpu"}, because: []string{"throttled"}, short: "work waits for the processor",
	})
	r.judge(&out, p.IO, limit{ioStallWarn, 0, ioStallBack}, claim{
		Finding: finding("io-stall", "", "disks", fmt.Sprintf("For %.0f %% of the last five minutes work waited for the disks: the server is slow.", p.IO),
			"If a rebuild, a check or a backup runs, wait for its end. Else look for a disk that fails, and for a service that writes much (iotop, top)."),
		after: stallAfter, hold: stallAfter, is: []string{"io wait"}, because: []string{"any disk", "any io", "memory stall", "memory"}, short: "work waits for the disks",
	})
	return out, nil
}

func (r *rules) load(context.Context, time.Time) ([]claim, error) {
	l, err := r.w.cfg.Root.Load()
	if err != nil {
		return nil, err
	}
	r.w.note(func(n *Numbers) { n.Load = &l })
	var out []claim
	r.judge(&out, l.Fifteen/float64(l.CPUs), limit{loadWarn, 0, loadBack}, claim{
		Finding: finding("load", "", "processor", fmt.Sprintf("For a quarter of an hour %.0f programs at a time wanted to run on %d processors, or waited for disks.", l.Fifteen, l.CPUs),
			"See on the server what runs (top). If a service runs wild, restart that."),
		after: stallAfter, hold: stallAfter, because: []string{"cpu", "io wait", "any disk", "any io", "memory stall", "memory"}, short: "very many programs want to run at a time",
	})
	return out, nil
}

func (r *rules) dimms(_ context.Context, now time.Time) ([]claim, error) {
	list, err := r.w.cfg.Root.ECC()
	if err != nil {
		return nil, err
	}
	r.w.note(func(n *Numbers) { n.ECC = list })
	var out []claim
	for _, d := range list {
		if d.Uncorrectable > 0 {
			out = append(out, claim{
				Finding: finding("ecc-"+slug(d.Name), "critical", "memory "+d.Name, fmt.Sprintf("Memory module %s has given wrong data %d times since the server was started, and they could not be mended: what the server computes and writes may be wrong.", d.Name, d.Uncorrectable),
					"Swap to the other server, switch this one off, and replace the module."),
				is: []string{"dimm"},
			})
			continue
		}
		c := r.ecc[d.Name]
		if c == nil {
			c = &counter{}
			r.ecc[d.Name] = c
		}
		r.judge(&out, float64(c.growth(now, d.Corrected, eccWindow)), limit{eccWarn, 0, eccWarn / 2}, claim{
			Finding: finding("ecc-"+slug(d.Name), "", "memory "+d.Name, fmt.Sprintf("Memory module %s begins to fail: %d wrong bits were mended since the server was started, more than %d of them in a day. Nothing is damaged yet.", d.Name, d.Corrected, eccWarn),
				"Replace the module at the next opportunity; on a secondary that disturbs nobody."),
			is: []string{"dimm"},
		})
	}
	return out, nil
}
