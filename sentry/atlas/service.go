package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) serviceCommand() *cobra.Command {
	c := &cobra.Command{Use: "service", Short: "The services of this server"}
	c.AddCommand(&cobra.Command{Use: "list", Short: "All services, their processes and last words", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		st, err := a.init.State(cmd.Context())
		if err != nil {
			return err
		}
		if a.json {
			return a.encode(st.Services)
		}
		for _, s := range st.Services {
			fmt.Fprintf(a.out, "%-12s %-9s %-22s for %s", s.Name, s.State, s.Title, time.Since(s.Since).Round(time.Second))
			if s.Restarts > 0 {
				fmt.Fprintf(a.out, ", %d restarts", s.Restarts)
			}
			fmt.Fprintln(a.out)
			for _, p := range s.Processes {
				fmt.Fprintf(a.out, "  %-16s %-9s pid %d\n", p.Name, p.State, p.PID)
			}
			if s.Error != "" {
				fmt.Fprintf(a.out, "  last words: %s\n", s.Error)
			}
		}
		return nil
	}})
	for verb, short := range map[string]string{
		"start": "Start a service", "stop": "Stop a service until it is started again or the server is", "restart": "Stop a service and start it again",
		"reload": "Let a service read its configuration again",
	} {
		c.AddCommand(&cobra.Command{Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.init.Service(cmd.Context(), args[0], verb); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s: %s ordered; `atlas service list` shows how it goes.\n", args[0], verb)
			return nil
		}})
	}
	return c
}
