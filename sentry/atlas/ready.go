package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
)

// exitCode ends the command with a code and no further words.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("ends with %d", int(e)) }

// Exit codes of atlas ready.
const (
	exitNo      exitCode = 1
	exitUnknown exitCode = 2
)

// readyPatience is how long sentry has to answer. It has judged already and does so within milliseconds; one that takes longer is ill, and then
// nothing is known.
const readyPatience = time.Second

func (a *app) readyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "ready", Short: "Would a swap of the disk sets work right now? Exit code 0: yes, 1: no, 2: not known", Args: cobra.NoArgs,
		Long: "Would a swap of the disk sets, done right now, bring every service up? It tells what Sentry has judged within the last seconds, and probes nothing.\n" +
			"Exit code 0: yes. 1: no. 2: not known, since evidence is missing; regard that as no.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.readiness(cmd.Context())
			if err != nil {
				r = site.Readiness{At: time.Now(), Verdict: initapi.VerdictUnknown, Accepted: []site.Reason{}, Reasons: []site.Reason{{
					ID: "sentry-silent", Unknown: true, Since: time.Now(), Evidence: err.Error(), Text: "Sentry on this server does not answer: nothing is known.",
					Next: "Look at it: `atlas service list`; then `atlas service restart sentry`. If it stays so, look at the page of the other server.",
				}}}
			}
			if a.json {
				if err := a.encode(r); err != nil {
					return exitUnknown
				}
			} else {
				a.printReadiness(r)
			}
			switch r.Verdict {
			case initapi.VerdictYes:
				return nil
			case initapi.VerdictNo:
				return exitNo
			}
			return exitUnknown
		},
	}
	// A wrong flag is no answer either: 1 would be taken for no.
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		fmt.Fprintln(a.out, "atlas ready:", err)
		return exitUnknown
	})
	return c
}

func (a *app) readiness(ctx context.Context) (site.Readiness, error) {
	var r site.Readiness
	return r, a.ask(ctx, http.MethodGet, "/v1/ready", nil, &r, readyPatience)
}

func (a *app) printReadiness(r site.Readiness) {
	fmt.Fprintf(a.out, "Ready to swap: %s\n", map[string]string{initapi.VerdictYes: "yes", initapi.VerdictNo: "NO", initapi.VerdictUnknown: "NOT KNOWN"}[r.Verdict])
	a.printReasons(r)
}

// printReasons is what stands below the verdict.
func (a *app) printReasons(r site.Readiness) {
	for _, x := range r.Reasons {
		fmt.Fprintf(a.out, "  - %s%s\n", state.PrintableText(x.Text), sinceWord(x.Since))
		if x.Evidence != "" && !strings.Contains(x.Text, x.Evidence) {
			fmt.Fprintf(a.out, "    %s\n", state.PrintableText(site.FirstLine(x.Evidence)))
		}
		if len(x.Also) > 0 {
			fmt.Fprintf(a.out, "    also: %s\n", state.PrintableText(strings.Join(x.Also, ", ")))
		}
		if x.Next != "" {
			fmt.Fprintf(a.out, "    → %s\n", state.PrintableText(x.Next))
		}
	}
	for _, x := range r.Accepted {
		fmt.Fprintf(a.out, "  Accepted by %s until %s (%s): %s\n", state.Printable(x.Accepted.Who), day(x.Accepted.Until), state.PrintableText(x.Accepted.Why), state.PrintableText(x.Text))
	}
	for _, o := range r.Open {
		fmt.Fprintf(a.out, "  Open: %s\n", state.PrintableText(o))
	}
}

func sinceWord(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " (since " + site.Clock(t) + ")"
}

func day(t time.Time) string { return t.Local().Format("2 Jan 15:04") }
