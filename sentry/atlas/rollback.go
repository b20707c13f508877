package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Of what a rollback would do, so much is shown before the question; --try shows all.
const (
	mostListed = 40  // files
	mostLines  = 120 // of text
)

func (a *app) rollbackCommand() *cobra.Command {
	var r state.Rollback
	var yes bool
	c := &cobra.Command{
		Use: "rollback [PATH | --service NAME | --all | --held]", Short: "Bring a file, a service's settings or everything back to what it was", Args: cobra.MaximumNArgs(1),
		Long: "Bring a file or folder, a service's settings or everything back to what it was. The services' own checkers are asked first; what they refuse is not done.\n" +
			"It shows what would change and asks before it does anything. A rollback is a change itself, and can be rolled back.\n" +
			"Without --to, a file or service goes back to what it was before its newest change. For --to: " + commitWords,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if r.Path, err = onlyPath(args); err != nil {
				return err
			}
			if len(args) == 1 && r.Path == "" {
				return errors.New("rollback: to bring everything back, say --all")
			}
			if err := r.Check(); err != nil {
				return fmt.Errorf("rollback: %w", err)
			}
			return a.rollback(cmd, r, yes)
		},
	}
	f := c.Flags()
	f.StringVar(&r.Service, "service", "", "all settings of the service `NAME`")
	f.BoolVar(&r.All, "all", false, "everything that is recorded")
	f.BoolVar(&r.Held, "held", false, "what is held back, to the last state that was not")
	f.StringVar(&r.To, "to", "", "`COMMIT` or time to go back to")
	f.BoolVar(&r.Try, "try", false, "only show what would be done")
	f.BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) rollback(cmd *cobra.Command, r state.Rollback, yes bool) error {
	order := r
	order.Try = true
	var plan state.RolledBack
	if err := a.order(cmd.Context(), "/v1/rollback", order, &plan); err != nil {
		return err
	}
	if r.Try && a.json {
		return a.encode(plan)
	}
	if !a.json {
		a.printPlan(r, plan)
	}
	if r.Try {
		fmt.Fprintln(a.out, "\nNothing was done.")
		return nil
	}
	if !yes {
		if err := a.confirm("rollback"); err != nil {
			return err
		}
	}
	order.Try, order.Plan = false, plan.Plan
	var done state.RolledBack
	if err := a.order(cmd.Context(), "/v1/rollback", order, &done); err != nil {
		return err
	}
	if a.json {
		return a.encode(done)
	}
	if done.Commit != nil {
		fmt.Fprintf(a.out, "Done: %s (commit %s).\n", state.Printable(done.Commit.Title), done.Commit.Short())
	}
	if len(done.Services) > 0 {
		fmt.Fprintf(a.out, "Told to take their files anew: %s.\n", state.Printable(strings.Join(done.Services, ", ")))
	}
	if len(done.Trouble) > 0 {
		return fmt.Errorf("the files are back, but not every service took them: %s; `atlas service list` shows how they do", state.Printable(strings.Join(done.Trouble, "; ")))
	}
	return nil
}

// confirm asks before something is done.
func (a *app) confirm(what string) error {
	fmt.Fprint(a.out, "\nTo do this, type: yes\n> ")
	line, err := a.in.ReadString('\n')
	if strings.TrimSpace(line) != "yes" {
		return errors.Join(errors.New(what+": not confirmed; nothing was done"), err)
	}
	return nil
}

func (a *app) printPlan(r state.Rollback, plan state.RolledBack) {
	fmt.Fprintf(a.out, "%s would go back to %s (commit %s):\n", capital(r.What()), when(plan.To.At), plan.To.Short())
	for i, f := range plan.Files {
		if i == mostListed && !r.Try {
			fmt.Fprintf(a.out, "  … and %d more; --try shows all\n", len(plan.Files)-i)
			break
		}
		fmt.Fprintf(a.out, "  %-18s %s\n", f.Verb, f.Path.Word())
	}
	if plan.Patch != "" {
		text, cut := plan.Patch, false
		if !r.Try {
			text, cut = firstLines(text, mostLines)
		}
		fmt.Fprintln(a.out)
		a.printPatch(text)
		if cut {
			fmt.Fprintln(a.out, "… and more; --try shows all")
		}
	}
	fmt.Fprintln(a.out)
	for _, v := range plan.Verdicts {
		fmt.Fprintf(a.out, "Checked: %s: %s\n", state.Printable(v.Title), map[string]string{"pass": "good"}[v.Result])
	}
	if len(plan.Services) == 0 {
		fmt.Fprintln(a.out, "No service needs to be told.")
		return
	}
	fmt.Fprintf(a.out, "Told to take their files anew would be: %s.\n", state.Printable(strings.Join(plan.Services, ", ")))
}

// firstLines cuts a text after n lines.
func firstLines(s state.Text, n int) (text state.Text, cut bool) {
	at := 0
	for range n {
		i := strings.IndexByte(string(s[at:]), '\n')
		if i < 0 {
			return s, false
		}
		at += i + 1
	}
	return s[:at], at < len(s)
}

func capital(s string) string {
	if s == "" || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "@") {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (a *app) releaseCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "release", Short: "Send a change that is held back on to the other servers, as it is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var st state.Status
			if err := a.sentry(cmd.Context(), http.MethodGet, "/v1/sync", &st); err != nil {
				return err
			}
			if st.Held == nil {
				fmt.Fprintln(a.out, "No change is held back.")
				return nil
			}
			if !a.json {
				a.printHeld(*st.Held)
			}
			if !yes {
				if err := a.confirm("release"); err != nil {
					return err
				}
			}
			var head state.Commit
			if err := a.order(cmd.Context(), "/v1/release", map[string]string{"commit": st.Held.Commit}, &head); err != nil {
				return err
			}
			if a.json {
				return a.encode(head)
			}
			fmt.Fprintf(a.out, "Sent on, up to commit %s. Each other server checks it before it takes it.\n", head.Short())
			return nil
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) printHeld(h state.Held) {
	fmt.Fprintf(a.out, "Held back since %s: %s does not take it.\n", when(h.Since), serviceWord(h.Service))
	for line := range strings.Lines(strings.TrimSpace(h.Words)) {
		fmt.Fprintf(a.out, "  %s\n", state.PrintableText(strings.TrimSuffix(line, "\n")))
	}
	for i, p := range h.Paths {
		if i == mostListed {
			fmt.Fprintf(a.out, "  … and %d more files\n", len(h.Paths)-i)
			break
		}
		fmt.Fprintf(a.out, "  changed: %s\n", p.Word())
	}
}

func serviceWord(name string) string {
	if name == "" {
		return "the system"
	}
	return state.Printable(name)
}

// printStanding is what atlas status says about a server's changes.
func (a *app) printStanding(s site.Site, v site.Server) {
	st, ok := s.Standing(v)
	if !ok {
		return
	}
	fmt.Fprintf(a.out, "  changes of settings: %s\n", st.Text)
	if st.More != "" && st.Class != "pass" {
		fmt.Fprintf(a.out, "    %s\n", st.More)
	}
	if h := v.Sync; h != nil && h.Held != nil && v.Self {
		fmt.Fprintln(a.out, "    → `atlas rollback --held` goes back, `atlas release` sends it on as it is")
	}
}
