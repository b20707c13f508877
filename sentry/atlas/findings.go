package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
)

func (a *app) findingsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "findings", Short: "What is wrong or worth telling anywhere in the site, with names", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.site(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.encode(s.Findings)
			}
			if len(s.Findings) == 0 {
				fmt.Fprintln(a.out, "Nothing is wrong that ATLAS can see.")
			}
			for _, f := range s.Findings {
				fmt.Fprintf(a.out, "%s\n  %-8s %s (%s, since %s)\n", state.Printable(f.ID), f.Severity, state.PrintableText(f.What), state.Printable(f.Where), site.Clock(f.Since))
				if f.Next != "" {
					fmt.Fprintf(a.out, "           → %s\n", state.PrintableText(f.Next))
				}
				if x := f.Accepted; x != nil {
					fmt.Fprintf(a.out, "           accepted by %s until %s: %s\n", state.Printable(x.Who), day(x.Until), state.PrintableText(x.Why))
				}
			}
			return nil
		},
	}
	c.AddCommand(&cobra.Command{
		Use: "ack ID", Short: "End a finding about something that has happened on this server: you have seen it", Args: cobra.ExactArgs(1),
		Long: "End a finding about something that has happened on this server: you have seen it. Findings about how things stand end by themselves when that is mended.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var f initapi.Finding
			if err := a.order(cmd.Context(), "/v1/findings/ack", map[string]string{"id": args[0]}, &f); err != nil {
				return err
			}
			if a.json {
				return a.encode(f)
			}
			fmt.Fprintf(a.out, "No longer told: %s\n", state.PrintableText(f.What))
			return nil
		},
	})
	return c
}
