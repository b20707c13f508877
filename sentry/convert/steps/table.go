package steps

import (
	"cmp"
	"fmt"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
)

// Table lists what steps do, in Markdown: README's table, which a test compares with it. Steps stand in the order in which they run.
func Table(steps []convert.Step) string {
	var b strings.Builder
	b.WriteString("| service | releases | what | what is done | way back | source |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, s := range steps {
		arrow, back := fmt.Sprintf("%d → %d", s.Old, s.Old+1), "nothing to do"
		switch {
		case s.Forward == nil:
			arrow = fmt.Sprintf("%d → %d", s.Old+1, s.Old)
		case s.Back != nil:
			arrow, back = fmt.Sprintf("%d ↔ %d", s.Old, s.Old+1), "yes"
		}
		row := []string{cmp.Or(s.Service, "system"), arrow, s.Title, done(s.Class), back, s.Source}
		for i, cell := range row {
			row[i] = strings.ReplaceAll(cell, "|", `\|`)
		}
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	return b.String()
}

// done says for people what a class of findings means.
func done(c convert.Class) string {
	switch c {
	case convert.Pinned:
		return "the old default is written out"
	case convert.Ignored:
		return "taken out where it would be in the way; nothing is missed"
	case convert.Approximated:
		return "taken out or approximated; a finding says what differs"
	case convert.Package:
		return "refused: a package is missing"
	case convert.Data:
		return "told: data have to be brought forward"
	case convert.Blocking:
		return "refused: no counterpart"
	}
	return string(c)
}
