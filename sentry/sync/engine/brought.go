package engine

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// brought words which of the primary's changes brought a line of a file (0: the file as it is), for a finding about it; "" if that is not known.
func (e *Engine) brought(head string, p state.Path, line int) string {
	if p == "" {
		return ""
	}
	if line > 0 {
		// Only who wrote the line is told, not the line.
		if list, err := e.repo.Blame(head, p, history.ShowAll); err == nil && line <= len(list) {
			return cameWith(list[line-1].Commit)
		}
	}
	list, err := e.repo.Log(state.Site, history.LogOptions{Path: p, Limit: 1})
	if err != nil || len(list) == 0 {
		return ""
	}
	return cameWith(list[0])
}

func cameWith(c state.Commit) string {
	return fmt.Sprintf(" It came with change %s, %s, by %s.", c.Short(), c.At.Local().Format("2 January 15:04"), c.By())
}

// refusal is what a checker here says of a state of the primary, with the place that it means there.
func (e *Engine) refusal(head state.Commit, v check.Verdict, files []state.Change) error {
	return &refusedError{verdict: v, title: e.title(v.Service), stands: e.stands(head, v, files)}
}

// stands words in which files of the primary that stands which a checker here does not take, and since when. Files that the checker names come
// first; one that was moved or rewritten is told as it is called there.
func (e *Engine) stands(head state.Commit, v check.Verdict, files []state.Change) string {
	var named, others []state.Path
	for _, c := range files {
		one := []state.Change{c}
		if !slices.Contains(apply.Affected(e.facts.Packs, one), v.Service) &&
			!slices.ContainsFunc(e.facts.BaseChecks(one), func(k check.Check) bool { return k.Service == v.Service }) {
			continue
		}
		if strings.Contains(v.Output, string(c.Path)) {
			named = append(named, c.Path)
		} else {
			others = append(others, c.Path)
		}
	}
	paths := append(named, others...)
	if len(paths) == 0 {
		return ""
	}
	var words []string
	first, line := paths[0], 0
	for i, p := range paths {
		q := e.versions.origin(p)
		if words = append(words, "/"+string(q)); i > 0 {
			continue
		}
		if first = q; slices.Contains(named, p) {
			if line = e.sameLine(head, p, q, lineOf(v.Output, p)); line > 0 {
				words[0] += ":" + strconv.Itoa(line)
			}
		}
	}
	return fmt.Sprintf(" On the primary that is in %s.%s", list(words), e.brought(head.ID, first, line))
}

// lineOf finds the line of a file that a checker names: “line 3 of /etc/x”, “/etc/x:3”, “/etc/x line 3”, “/etc/x, line 3”; 0 if it names none.
func lineOf(output string, p state.Path) int {
	name := regexp.QuoteMeta("/" + string(p))
	for _, form := range []string{name + `(?:["']?:|["']?,? line |["']?,? at line )(\d+)`, `line (\d+) of ` + name} {
		if m := regexp.MustCompile(form).FindStringSubmatch(output); m != nil {
			n, err := strconv.Atoi(m[1])
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// sameLine finds line n of a converted file, at p, in the primary's file, at q; 0 if it is another text there or stands there twice.
func (e *Engine) sameLine(head state.Commit, p, q state.Path, n int) int {
	read := func(commit string, p state.Path) []string {
		entry, ok, err := e.repo.Lookup(commit, p)
		if err != nil || !ok || entry.Kind != state.File {
			return nil
		}
		text, err := e.content(entry.Data)
		if err != nil {
			return nil
		}
		return strings.Split(string(text), "\n")
	}
	ours, theirs := read(e.versions.target.ID, p), read(head.ID, q)
	if n < 1 || n > len(ours) {
		return 0
	}
	at := 0
	for i, l := range theirs {
		switch {
		case l != ours[n-1]:
		case i == n-1:
			return n
		case at > 0:
			return 0
		default:
			at = i + 1
		}
	}
	return at
}
