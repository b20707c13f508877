package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/verify"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "This server, the others, and whether a swap would work", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		s, err := a.site(cmd.Context())
		if err == nil {
			if a.json {
				return a.encode(s)
			}
			a.printSite(s)
			return nil
		}
		// Sentry may be the one that is ill: init's state is better than nothing.
		st, initErr := a.init.State(cmd.Context())
		if initErr != nil {
			return fmt.Errorf("%w; and %w", err, initErr)
		}
		if a.json {
			return a.encode(st)
		}
		fmt.Fprintf(a.out, "Sentry does not answer (%v). Only this server is told.\n\n", err)
		a.printState(&st)
		return nil
	}}
}

func (a *app) printSite(s site.Site) {
	fmt.Fprintf(a.out, "%s — ready to swap: %s\n", s.Name, map[string]string{initapi.VerdictYes: "yes", initapi.VerdictNo: "NO", initapi.VerdictUnknown: "NOT KNOWN"}[s.Readiness.Verdict])
	a.printReasons(s.Readiness)
	if s.Advice.Down {
		fmt.Fprintf(a.out, "\n%s\n", s.Advice.Text)
	}
	for _, v := range s.Servers {
		fmt.Fprintln(a.out)
		self := ""
		if v.Self {
			self = " (this server)"
		}
		fmt.Fprintf(a.out, "%s%s  %s\n", strings.ToUpper(v.Name), self, v.Address)
		if v.Error != "" {
			fmt.Fprintf(a.out, "  does not answer: %s\n", v.Error)
		}
		if v.State == nil {
			continue
		}
		if v.Error != "" {
			fmt.Fprintf(a.out, "  as it was at %s:\n", site.Clock(v.Seen))
		}
		a.printState(v.State)
		a.printStanding(s, v)
		for _, p := range v.Probes {
			if p.Status != verify.Pass && p.Status != verify.NotApplicable {
				again := ""
				if p.Soft() {
					again = " (seen once; being verified again)"
				}
				fmt.Fprintf(a.out, "  probe of %s: %s: %s%s: %s\n", p.Target, p.Title, p.Status, again, p.Evidence)
			}
		}
	}
	for i, f := range s.Findings {
		if i == 0 {
			fmt.Fprintln(a.out, "\nFindings")
		}
		fmt.Fprintf(a.out, "  %-8s %s (%s, since %s)\n", f.Severity, f.What, f.Where, site.Clock(f.Since))
		if f.Next != "" {
			fmt.Fprintf(a.out, "           → %s\n", f.Next)
		}
		if x := f.Accepted; x != nil {
			fmt.Fprintf(a.out, "           accepted by %s until %s: %s\n", x.Who, day(x.Until), x.Why)
		}
	}
}

func (a *app) printState(st *initapi.State) {
	role := ""
	if st.Role != "" {
		role = ", " + string(st.Role)
	}
	fmt.Fprintf(a.out, "  %s%s, image %s, up %s\n", site.StateWord(st), role, st.Version, time.Since(st.Started).Round(time.Second))
	for _, r := range st.Reasons {
		fmt.Fprintf(a.out, "  %s\n    → %s\n", r.Text, r.Next)
	}
	if st.Set != nil {
		word := "whole"
		if st.Set.Degraded {
			word = "NOT WHOLE"
		}
		if st.Set.Rebuild != "" {
			word += ", rebuilding " + st.Set.Rebuild
		}
		fmt.Fprintf(a.out, "  set %s, %s, generation %d:", st.Set.Level, word, st.Set.Generation)
		for _, m := range st.Set.Members {
			fmt.Fprintf(a.out, " bay %d %s (%s)", m.Bay, m.Serial, m.State)
		}
		fmt.Fprintln(a.out)
	}
	for _, s := range st.Services {
		fmt.Fprintf(a.out, "  %-20s %s\n", s.Title, s.State)
	}
}
