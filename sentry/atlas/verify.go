package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
	"sayasystems.com/atlas/sentry/verify"
	"sayasystems.com/atlas/sentry/verify/past"
)

func (a *app) verifyCommand() *cobra.Command {
	var span time.Duration
	c := &cobra.Command{
		Use: "verify [SERVICE]", Short: "What every probe of every server has found, and where its time went", Args: cobra.MaximumNArgs(1),
		Long: "What every probe of every server has found last, and where its time went. With --past: how available each was from this server, and how long it took.",
		RunE: func(cmd *cobra.Command, args []string) error {
			service := ""
			if len(args) == 1 {
				service = args[0]
			}
			if span > 0 {
				q := url.Values{"service": {service}, "from": {time.Now().Add(-span).UTC().Format(time.RFC3339)}}
				var lines []past.Line
				if err := a.sentry(cmd.Context(), http.MethodGet, "/v1/past?"+q.Encode(), &lines); err != nil {
					return err
				}
				if a.json {
					return a.encode(lines)
				}
				a.printPast(lines)
				return nil
			}
			s, err := a.site(cmd.Context())
			if err != nil {
				return err
			}
			results := probesOf(s, service)
			if a.json {
				return a.encode(results)
			}
			if len(results) == 0 {
				fmt.Fprintln(a.out, "Nothing is probed.")
			}
			a.printProbes(s, results)
			return nil
		},
	}
	c.Flags().DurationVar(&span, "past", 0, "sum up this `time` before now, by the hour: 24h, 2160h")
	return c
}

// probesOf are all observers' results, those of one target and service together.
func probesOf(s site.Site, service string) []verify.Result {
	out := []verify.Result{}
	for _, v := range s.Servers {
		for _, r := range v.Probes {
			if service == "" || r.Service == service {
				r.History = nil
				out = append(out, r)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b verify.Result) int {
		return slices.Compare([]string{a.Target, a.Service, a.Probe, a.Observer}, []string{b.Target, b.Service, b.Probe, b.Observer})
	})
	return out
}

func (a *app) printProbes(s site.Site, results []verify.Result) {
	target := ""
	for _, r := range results {
		if r.Target != target {
			target = r.Target
			fmt.Fprintln(a.out, strings.ToUpper(state.Printable(target)))
		}
		word := string(r.Standing())
		now := s.At
		if v, ok := s.Find(r.Observer); ok {
			now = now.Add(v.Ahead)
		}
		switch {
		case r.Stale(now):
			word = "too old"
		case r.Soft():
			word = "again" // being verified again
		case r.Standing() == verify.NotApplicable:
			word = "n/a"
		}
		took := ""
		if r.Duration > 0 {
			took = millis(r.Duration)
		}
		fmt.Fprintf(a.out, "  %-8s %-11s %-16s from %-8s %10s  %s\n", word, state.Printable(r.Service), state.Printable(r.Probe), state.Printable(r.Observer), took, state.PrintableText(r.Evidence))
		if words := r.StepWords(); words != "" {
			fmt.Fprintf(a.out, "  %46s  %s\n", "", words)
		}
		if r.Next != "" {
			fmt.Fprintf(a.out, "  %46s  → %s\n", "", state.PrintableText(r.Next))
		}
	}
}

func (a *app) printPast(lines []past.Line) {
	fmt.Fprintf(a.out, "%-8s %-11s %-16s %8s %7s %13s %10s %12s\n", "server", "service", "probe", "runs", "failed", "availability", "median", "95 % within")
	for _, l := range lines {
		runs, failed, told := 0, 0, 0
		worked := 0.0
		var p50, p95 []time.Duration
		for _, s := range l.Spans {
			runs, failed = runs+s.Runs, failed+s.Failed
			if s.Availability != nil {
				told += s.Runs - s.Unknown
				worked += *s.Availability * float64(s.Runs-s.Unknown)
			}
			if s.P50 > 0 {
				p50, p95 = append(p50, s.P50), append(p95, s.P95)
			}
		}
		share, median, most := "not known", "", ""
		if told > 0 {
			share = fmt.Sprintf("%.3f %%", 100*worked/float64(told))
		}
		if len(p50) > 0 {
			slices.Sort(p50)
			median, most = millis(p50[len(p50)/2]), millis(slices.Max(p95))
		}
		fmt.Fprintf(a.out, "%-8s %-11s %-16s %8d %7d %13s %10s %12s\n", state.Printable(l.Target), state.Printable(l.Service), state.Printable(l.Probe), runs, failed, share, median, most)
	}
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
