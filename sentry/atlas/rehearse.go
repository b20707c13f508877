package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
)

// rehearsing is what sentry answers about rehearsals (daemon.Rehearsal).
type rehearsing struct {
	Running *rehearsal.Running `json:"running"`
	Last    *ledger.Entry      `json:"last"`
	Refused string             `json:"refused"`
}

func (a *app) rehearseCommand() *cobra.Command {
	var all, leave bool
	c := &cobra.Command{
		Use: "rehearse [SERVICE…]", Short: "Start services of this secondary from cold, to prove that they would start after a swap",
		Long: "Stop services of this secondary and start them again, as a boot does, and prove each by its transactions, seen from every server. That is done by itself\n" +
			"after changes and every night (rehearsal.window in /etc/atlas/site.yaml); with this command it is done now. Without names, what was changed since the\n" +
			"last proof is rehearsed, or everything if nothing was. With SERVICE, it and what needs it. A primary is never rehearsed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			names := args
			if len(names) == 0 && !all {
				var err error
				if names, err = a.unproven(cmd.Context()); err != nil {
					return err
				}
			}
			var o rehearsal.Order
			begun := time.Now()
			if err := a.order(cmd.Context(), "/v1/rehearse", map[string][]string{"services": names}, &o); err != nil {
				return err
			}
			if leave {
				fmt.Fprintf(a.out, "Begun: %s. `atlas ledger` shows what becomes of it.\n", strings.Join(o.Services, ", "))
				return nil
			}
			if !a.json {
				fmt.Fprintf(a.out, "Rehearsing %s …\n", strings.Join(o.Services, ", "))
			}
			return a.awaitRehearsal(cmd.Context(), begun)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "all services")
	c.Flags().BoolVar(&leave, "no-wait", false, "do not wait for the end")
	return c
}

// unproven are the services of this server that were changed since they were proven.
func (a *app) unproven(ctx context.Context) ([]string, error) {
	s, err := a.site(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, v := range s.Servers {
		if v.Self && v.Starts != nil {
			for _, u := range v.Starts.Unproven {
				out = append(out, u.Service)
			}
		}
	}
	return out, nil
}

func (a *app) awaitRehearsal(ctx context.Context, begun time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not waited for: it goes on, and `atlas ledger` shows what becomes of it: %w", ctx.Err())
		case <-time.After(time.Second):
		}
		var r rehearsing
		if err := a.sentry(ctx, http.MethodGet, "/v1/rehearsal", &r); err != nil {
			return err
		}
		switch {
		case r.Running != nil:
			continue
		case r.Last != nil && r.Last.Done.After(begun):
			if a.json {
				if err := a.encode(r.Last); err != nil {
					return err
				}
			} else {
				a.printEntry(*r.Last, true)
			}
			if !r.Last.Good {
				return exitNo
			}
			return nil
		case r.Refused != "":
			return errors.New(state.Printable(r.Refused))
		case time.Since(begun) > rehearsal.RunLimit:
			return errors.New("nothing is known of the rehearsal; see the messages of sentry: atlas service log sentry")
		}
	}
}

func (a *app) ledgerCommand() *cobra.Command {
	var n int
	c := &cobra.Command{
		Use: "ledger", Short: "Every start from cold: boots, swaps and rehearsals, and how long they took", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []ledger.Entry
			if err := a.sentry(cmd.Context(), http.MethodGet, "/v1/ledger", &list); err != nil {
				return err
			}
			if a.json {
				return a.encode(list)
			}
			fmt.Fprintln(a.out, site.SwapWords(list, time.Now()))
			for i, e := range list {
				if i == n {
					fmt.Fprintf(a.out, "… and %d older ones: --last %d\n", len(list)-n, len(list))
					break
				}
				a.printEntry(e, i == 0)
			}
			return nil
		},
	}
	c.Flags().IntVar(&n, "last", 20, "how many are shown")
	return c
}

func (a *app) printEntry(e ledger.Entry, services bool) {
	fmt.Fprintf(a.out, "%s  %s: %s", e.At.Local().Format("2 Jan 2006 15:04:05"), state.PrintableText(e.What()), state.PrintableText(e.Result()))
	if e.By != "" {
		fmt.Fprintf(a.out, ", ordered by %s", state.Printable(e.By))
	}
	if len(e.Seen) > 0 && e.Good {
		fmt.Fprintf(a.out, ", seen from %s", state.Printable(strings.Join(e.Seen, " and ")))
	}
	fmt.Fprintln(a.out)
	for _, s := range e.Services {
		switch {
		case s.Untold:
			fmt.Fprintf(a.out, "    %-26s not proven: %s\n", state.Printable(s.Label()), state.PrintableText(s.Words))
		case !s.Good:
			fmt.Fprintf(a.out, "    %-26s NOT GOOD: %s\n", state.Printable(s.Label()), state.PrintableText(s.Words))
		case services && s.Took > 0:
			fmt.Fprintf(a.out, "    %-26s %s\n", state.Printable(s.Label()), ledger.Seconds(s.Took))
		}
	}
}
