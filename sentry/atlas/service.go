package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/sentry/initapi"
)

func (a *app) serviceCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "service", Short: "The services of this server",
		Long: "The services of this server. NAME is a service's name as `atlas service list` shows it, or that of one of its processes or units\n" +
			"(smbd, apache2.service); then only that process is meant, and those that need it.",
	}
	c.AddCommand(&cobra.Command{Use: "list", Short: "All services, their processes and last words", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		st, err := a.init.State(cmd.Context())
		if err != nil {
			return err
		}
		if a.json {
			return a.encode(append(st.Services, st.Off...))
		}
		for _, s := range st.Services {
			printService(a.out, s)
		}
		for _, s := range st.Off {
			fmt.Fprintf(a.out, "%-12s %-9s %s\n", s.Name, s.State, s.Title)
		}
		return nil
	}})
	const goes = "`atlas service list` shows how it goes"
	for _, v := range []struct{ verb, short, did, then string }{
		{"start", "Start a service", "start ordered", goes},
		{"stop", "Stop a service until it is started again or the server is", "stopped", ""},
		{"restart", "Stop a service and start it again", "restart ordered", goes},
		{"reload", "Let a service read its configuration again", "told to reload", ""},
		{"enable", "Switch a service on, now and for good, with those that it needs", "on", goes},
		{"disable", "Switch a service off, now and for good; its data stays", "off", ""},
	} {
		c.AddCommand(&cobra.Command{Use: v.verb + " NAME", Short: v.short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			note, err := a.init.ServiceNote(cmd.Context(), args[0], v.verb)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s: %s", args[0], v.did)
			for _, more := range []string{note, v.then} {
				if more != "" {
					fmt.Fprint(a.out, "; ", more)
				}
			}
			fmt.Fprintln(a.out)
			return nil
		}})
	}
	c.AddCommand(&cobra.Command{
		Use: "apply", Short: "Run the services that /etc/atlas/site.yaml names now, after it was edited", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			note, err := a.init.ReloadSite(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, note)
			return nil
		},
	}, a.serviceLogCommand())
	return c
}

func printService(out io.Writer, s initapi.Service) {
	fmt.Fprintf(out, "%-12s %-9s %-26s since %s", s.Name, s.State, s.Title, s.Since.Local().Format(time.DateTime))
	if s.MemoryBytes > 0 {
		fmt.Fprintf(out, ", %d MB", s.MemoryBytes>>20)
	}
	if s.Restarts > 0 {
		fmt.Fprintf(out, ", %d restarts", s.Restarts)
	}
	fmt.Fprintln(out)
	for _, p := range s.Processes {
		pid := "no process"
		if p.PID != 0 {
			pid = fmt.Sprintf("pid %d", p.PID)
		}
		fmt.Fprintf(out, "  %-16s %-9s %s\n", p.Name, p.State, pid)
	}
	if s.Waiting != "" {
		fmt.Fprintf(out, "  waits for: %s\n", s.Waiting)
	}
	if s.Error != "" {
		fmt.Fprintf(out, "  last words: %s\n", s.Error)
	}
}
