package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

func (a *app) commitUpgradeCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "commit-upgrade [SERVICE…]", Short: "Stay with this release: give up the data that are kept for the way back to the older one",
		Long: "When disks came from a server with an older Debian release, services' data were brought into the form of this one, and those of before are kept, so that the disks can go back. " +
			"This command removes what is kept, for all services or those named, and gives the room back. After it these data cannot be used by a server with the older release.",
		RunE: func(cmd *cobra.Command, args []string) error {
			r := initapi.CommitRequest{Services: args, Ask: true}
			have, err := a.init.Commit(cmd.Context(), r)
			if err != nil {
				return err
			}
			if len(have.Kept) == 0 {
				if a.json {
					return a.encode(have)
				}
				fmt.Fprintln(a.out, "Nothing is kept of an older release: there is nothing to confirm.")
				return nil
			}
			if !yes {
				fmt.Fprintln(a.out, "This removes:")
				for _, l := range have.Kept {
					fmt.Fprintln(a.out, "  "+state.Printable(l))
				}
				fmt.Fprint(a.out, "Afterwards the disks cannot go back into a server with the older release.\n\nTo do this, type: commit-upgrade\n> ")
				line, err := a.in.ReadString('\n')
				if strings.TrimSpace(line) != "commit-upgrade" {
					return errors.Join(errors.New("commit-upgrade: not confirmed; nothing was done"), err)
				}
			}
			r.Ask = false
			done, err := a.init.Patient().Commit(cmd.Context(), r)
			if err != nil {
				return err
			}
			if a.json {
				return a.encode(done)
			}
			fmt.Fprintf(a.out, "Done: %d MB are free again.\n", done.Freed>>20)
			return nil
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask back")
	return c
}
