package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/sentry/sync/state"
)

func (a *app) historyCommand() *cobra.Command {
	var limit int
	var local bool
	var line string
	c := &cobra.Command{
		Use: "history [PATH]", Short: "What was changed, when and by whom: of everything, or of a file or folder", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := onlyPath(args)
			if err != nil {
				return err
			}
			if limit < 1 || limit > 1000 {
				return fmt.Errorf("history: --limit is a number from 1 to 1000")
			}
			v := url.Values{"limit": {strconv.Itoa(limit)}}
			setPath(v, path)
			if local {
				v.Set("local", "1")
			}
			if line != "" {
				v.Set("line", line)
			}
			var list []state.Event
			if err := a.sentry(cmd.Context(), http.MethodGet, "/v1/history?"+v.Encode(), &list); err != nil {
				return err
			}
			if a.json {
				return a.encode(list)
			}
			a.printEvents(list, path)
			return nil
		},
	}
	c.Flags().IntVar(&limit, "limit", 50, "how many changes, the newest first")
	c.Flags().BoolVar(&local, "local", false, "on the secondary: what was made of the primary's changes here, and what was changed here")
	c.Flags().StringVar(&line, "line", "", "on the secondary: the history kept as `NAME` when another took its place (atlas resync)")
	c.MarkFlagsMutuallyExclusive("local", "line")
	return c
}

// mostBy is how wide the column of authors gets at most; longer ones stick out.
const mostBy = 40

// printEvents writes one change a line.
func (a *app) printEvents(list []state.Event, path state.Path) {
	if len(list) == 0 {
		of := ""
		if path != "" {
			of = " of " + path.Word()
		}
		fmt.Fprintf(a.out, "No change%s is recorded.\n", of)
		return
	}
	wide := 0
	for _, e := range list {
		if n := utf8.RuneCountInString(e.By()); n <= mostBy {
			wide = max(wide, n)
		}
	}
	p := paintFor(a.out)
	for _, e := range list {
		fmt.Fprintf(a.out, "%s  %s  %s  %s\n", when(e.At), p.dim(fmt.Sprintf("%-*s", wide, e.By())), e.What(), p.dim(e.Short()))
	}
}

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show COMMIT [PATH]", Short: "One change in full", Args: cobra.RangeArgs(1, 2), Long: "One change in full. " + commitWords,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := onlyPath(args[1:])
			if err != nil {
				return err
			}
			v := url.Values{}
			setPath(v, path)
			var s state.Shown
			if err := a.sentry(cmd.Context(), http.MethodGet, "/v1/history/"+url.PathEscape(args[0])+"?"+v.Encode(), &s); err != nil {
				return err
			}
			if a.json {
				return a.encode(s)
			}
			p := paintFor(a.out)
			fmt.Fprintf(a.out, "%s\n%s  %s, on %s\n", p.bold(s.What()), when(s.At), s.By(), state.Printable(s.Server))
			fmt.Fprintf(a.out, "commit %s\n", state.Printable(s.ID))
			for line := range strings.Lines(s.Note) {
				fmt.Fprintf(a.out, "  %s\n", state.Printable(strings.TrimSuffix(line, "\n")))
			}
			fmt.Fprintln(a.out)
			a.printPatch(s.Patch)
			if s.Patch == "" && path != "" {
				fmt.Fprintf(a.out, "It did not change %s.\n", path.Word())
			}
			return nil
		},
	}
}

const commitWords = "COMMIT is the beginning of a commit's name as `atlas history` shows it, HEAD (the newest), HEAD~2 (two before it), or a time: \"2026-11-22 14:00\"."

func (a *app) diffCommand() *cobra.Command {
	return &cobra.Command{
		Use: "diff [FROM [TO]] [PATH]", Short: "What differs between two moments", Args: cobra.MaximumNArgs(3),
		Long: "What differs between two moments: FROM is the one before the newest change if not given, TO the newest. A PATH begins with / or ./ or @db/. " + commitWords,
		RunE: func(cmd *cobra.Command, args []string) error {
			var path state.Path
			if n := len(args); n > 0 && (n == 3 || looksLikePath(args[n-1])) {
				var err error
				if path, err = typedPath(args[n-1]); err != nil {
					return err
				}
				args = args[:n-1]
			}
			v := url.Values{"from": {"HEAD~1"}}
			if len(args) > 0 {
				v.Set("from", args[0])
			}
			if len(args) > 1 {
				v.Set("to", args[1])
			}
			setPath(v, path)
			var out struct {
				Patch state.Text `json:"patch"`
			}
			if err := a.sentry(cmd.Context(), http.MethodGet, "/v1/diff?"+v.Encode(), &out); err != nil {
				return err
			}
			if a.json {
				return a.encode(out)
			}
			if out.Patch == "" {
				fmt.Fprintln(a.out, "Nothing differs.")
			}
			a.printPatch(out.Patch)
			return nil
		},
	}
}

func (a *app) blameCommand() *cobra.Command {
	return &cobra.Command{
		Use: "blame FILE", Short: "Who brought each line of a file, and when", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := typedPath(args[0])
			if err != nil {
				return err
			}
			var b state.Blame
			v := url.Values{}
			setPath(v, path)
			if err := a.sentry(cmd.Context(), http.MethodGet, "/v1/blame?"+v.Encode(), &b); err != nil {
				return err
			}
			if a.json {
				return a.encode(b)
			}
			wide := 0
			for _, c := range b.Commits {
				wide = max(wide, utf8.RuneCountInString(blameName(c)))
			}
			p := paintFor(a.out)
			for i, l := range b.Lines {
				c := b.Commits[l.Commit]
				fmt.Fprintf(a.out, "%s %4d  %s\n", p.dim(fmt.Sprintf("%s  %s  %-*s", c.Short(), when(c.At), wide, blameName(c))), i+1, state.PrintableText(string(l.Text)))
			}
			return nil
		},
	}
}

// blameName is who made a change, short.
func blameName(c state.Commit) string {
	for _, s := range []string{c.Who.Login, c.Who.User, c.Who.Service, c.Who.Program} {
		if s != "" {
			return state.Printable(s)
		}
	}
	return "not known"
}

// printPatch writes a difference for people; colours stand for what is gone and what is new.
func (a *app) printPatch(text state.Text) {
	p := paintFor(a.out)
	for line := range strings.Lines(string(text)) {
		s := state.PrintableText(strings.TrimSuffix(line, "\n"))
		switch {
		case strings.HasPrefix(line, "+++ "), strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "@@ "):
			s = p.dim(s)
		case strings.HasPrefix(line, "+"):
			s = p.green(s)
		case strings.HasPrefix(line, "-"):
			s = p.red(s)
		case !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\\"):
			s = p.bold(s)
		}
		fmt.Fprintln(a.out, s)
	}
}

func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// looksLikePath tells a path from a commit or a time, which hold no slash.
func looksLikePath(s string) bool { return strings.Contains(s, "/") || s == "." || s == ".." }

func onlyPath(args []string) (state.Path, error) {
	if len(args) == 0 {
		return "", nil
	}
	return typedPath(args[0])
}

// typedPath reads a path as it was typed: from the root, from the directory that one is in, or below @db. It need not exist any more.
func typedPath(s string) (state.Path, error) {
	if state.Path(s).Under(state.Exports) {
		return state.ParsePath(s)
	}
	abs, err := filepath.Abs(s)
	if err != nil {
		return "", fmt.Errorf("path %s: %w", state.Printable(s), err)
	}
	return state.ParsePath(abs)
}

func setPath(v url.Values, p state.Path) {
	if p != "" {
		v.Set("path", string(p))
	}
}

// paint colours words on a terminal, and only there.
type paint bool

func paintFor(out io.Writer) paint {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	st, err := f.Stat()
	return paint(err == nil && st.Mode()&os.ModeCharDevice != 0)
}

func (p paint) in(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p paint) dim(s string) string   { return p.in("2", s) }
func (p paint) bold(s string) string  { return p.in("1", s) }
func (p paint) red(s string) string   { return p.in("31", s) }
func (p paint) green(s string) string { return p.in("32", s) }

// order sends an order to sentry, which may take as long as its checkers and services do.
func (a *app) order(ctx context.Context, path string, in, out any) error {
	return a.ask(ctx, http.MethodPost, path, in, out, 10*time.Minute)
}
