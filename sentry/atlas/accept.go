package main

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/sentry/accept"
	"sayasystems.com/atlas/sentry/sync/state"
)

func (a *app) acceptCommand() *cobra.Command {
	var until, why, end string
	var list bool
	c := &cobra.Command{
		Use: "accept FINDING --until 24h --why TEXT", Short: "Accept a finding for a time: it does not stand in the way of a swap meanwhile", Args: cobra.MaximumNArgs(1),
		Long: "Accept a finding for a time: you know of it, and it does not stand in the way of a swap meanwhile. It is told beside the verdict, with your name and\n" +
			"reason, on every server. One that becomes worse, or what is not known, is not accepted. `atlas findings` lists the names.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var out accept.Acceptance
			switch {
			case list:
				return a.listAccepted(cmd)
			case end != "":
				if err := a.order(cmd.Context(), "/v1/accept/end", map[string]string{"finding": end}, &out); err != nil {
					return err
				}
				if a.json {
					return a.encode(out)
				}
				fmt.Fprintf(a.out, "Counts again: %s\n", state.PrintableText(out.What))
				return nil
			case len(args) == 0:
				return errors.New("accept: which finding? `atlas findings` lists them with their names; `atlas accept --list` lists what is accepted")
			}
			t, err := untilTime(until, time.Now())
			if err != nil {
				return err
			}
			if strings.TrimSpace(why) == "" {
				return errors.New("accept: say why with --why TEXT; the others will want to know")
			}
			in := map[string]any{"finding": args[0], "why": why, "until": t}
			if err := a.order(cmd.Context(), "/v1/accept", in, &out); err != nil {
				return err
			}
			if a.json {
				return a.encode(out)
			}
			fmt.Fprintf(a.out, "Accepted until %s: %s\n", day(out.Until), state.PrintableText(out.What))
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&until, "until", "24h", "for so `LONG` (24h, 3d), or to a day or time (2026-12-01, \"2026-12-01 18:00\")")
	f.StringVar(&why, "why", "", "`TEXT` for the others")
	f.BoolVar(&list, "list", false, "what is and was accepted")
	f.StringVar(&end, "end", "", "take the acceptance of `FINDING` back")
	return c
}

func (a *app) listAccepted(cmd *cobra.Command) error {
	var all []accept.Acceptance
	if err := a.sentry(cmd.Context(), http.MethodGet, "/v1/accepted", &all); err != nil {
		return err
	}
	if a.json {
		return a.encode(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(a.out, "Nothing is accepted.")
	}
	for _, x := range all {
		word := "until " + day(x.Until)
		switch {
		case !x.Ended.IsZero():
			word = "taken back on " + day(x.Ended) + " by " + state.Printable(x.EndedBy)
		case !x.Standing(time.Now()):
			word = "ended on " + day(x.Until)
		}
		fmt.Fprintf(a.out, "%s\n  %s\n  accepted by %s on %s, %s: %s\n", state.Printable(x.Finding), state.PrintableText(x.What), state.Printable(x.Who), day(x.At), word, state.PrintableText(x.Why))
	}
	return nil
}

// untilTime reads how long something is to be accepted.
func untilTime(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 {
			return now.AddDate(0, 0, n), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(d), nil
	}
	for _, layout := range []string{"2006-01-02 15:04", time.DateTime, time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, time.Local); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Second), nil // to the end of that day
	}
	return time.Time{}, fmt.Errorf("--until %s: say how long (24h, 3d) or until when (2026-12-01, \"2026-12-01 18:00\")", s)
}
