package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/sentry/sync/state"
)

func (a *app) resyncCommand() *cobra.Command {
	var yes bool
	var r state.Resync
	c := &cobra.Command{
		Use: "resync [SERVER]", Short: "Let a secondary that has another history than the primary take the primary's files", Args: cobra.MaximumNArgs(1),
		Long: "Let a secondary that has another history than the primary take the primary's files and history as they are now, on either of the two servers. That is needed\n" +
			"after the primary's history was damaged and a new one was begun. What the secondary had is kept beside it. It shows what it does, and asks before.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				r.Server = strings.ToLower(args[0])
			}
			order := r
			order.Try = true
			var plan state.Resynced
			if err := a.order(cmd.Context(), "/v1/resync", order, &plan); err != nil {
				return err
			}
			if r.Try && a.json {
				return a.encode(plan)
			}
			if !a.json {
				for _, w := range plan.Words() {
					fmt.Fprintln(a.out, w)
				}
			}
			if r.Try {
				fmt.Fprintln(a.out, "\nNothing was done.")
				return nil
			}
			if !yes {
				if err := a.confirm("resync"); err != nil {
					return err
				}
			}
			order = state.Resync{Server: plan.Server, Plan: plan.Plan}
			if err := a.order(cmd.Context(), "/v1/resync", order, &plan); err != nil {
				return err
			}
			if a.json {
				return a.encode(plan)
			}
			fmt.Fprintf(a.out, "Ordered. `atlas status` shows when %s is in step.\n", strings.ToUpper(state.Printable(plan.Server)))
			return nil
		},
	}
	c.Flags().BoolVar(&r.Try, "try", false, "only show what would be done")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
