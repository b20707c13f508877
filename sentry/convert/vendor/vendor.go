// Package vendor makes steps of conversion of what packs declare in pack.yaml (conversions), so that a vendor's own application is carried between
// releases of Debian as the services of the image are. Packs → Steps → convert.Convert, behind the built-in steps.
//
// A declared step touches files that people have changed, and of these single lines; what it did is told in the vendor's words (title, next). A program
// gets one file's text and gives the new one; it is run by whoever makes the steps (Run), so that this package does no I/O. It judges no text: that
// is for the services' own checkers.
package vendor

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Run gives a text to a program and returns what it wrote to standard output and to standard error. An error means that it failed.
type Run func(command []string, timeout time.Duration, text []byte) (out, said []byte, err error)

// Steps makes the steps of all packs, in their order.
func Steps(packs []pack.Pack, run Run) []convert.Step {
	var out []convert.Step
	for _, p := range packs {
		for _, c := range p.Conversions {
			s := convert.Step{
				ID: p.Name + "-" + c.ID, Service: p.Name, Old: c.Between[0], Title: c.Title, Source: cmp.Or(c.Source, "the vendor of the pack "+p.Name),
			}
			switch {
			case c.Move != nil:
				s.Class, s.Forward, s.Back = convert.Moved, move(c, c.Move.From, c.Move.To), move(c, c.Move.To, c.Move.From)
			case c.RenameKey != nil:
				s.Class, s.Forward, s.Back = convert.Renamed, rename(c, c.RenameKey.From, c.RenameKey.To), rename(c, c.RenameKey.To, c.RenameKey.From)
			case c.Replace != nil:
				s.Class = convert.Rewritten
				s.Forward, s.Back = replace(c)
			case c.PinDefault != nil:
				s.Class, s.Forward = convert.Pinned, pin(c, c.PinDefault.Old)
				if c.PinDefault.New != "" {
					s.Back = pin(c, c.PinDefault.New)
				}
			case c.Program != nil:
				s.Class, s.Forward, s.Back = convert.Rewritten, program(c, run), program(c, run)
			default:
				continue // pack.Load lets none through
			}
			out = append(out, s)
		}
	}
	return out
}

func inTree(file string) state.Path { return state.Path(strings.TrimPrefix(file, "/")) }

// tell says in the vendor's words that something was done.
func tell(w *convert.Work, c pack.Conversion, p state.Path, line int) {
	w.Tell(convert.Finding{Path: p, Line: line, What: c.Title, Next: c.Next})
}

func move(c pack.Conversion, from, to string) func(*convert.Work) error {
	changed := func(w *convert.Work, dir state.Path) bool {
		return slices.ContainsFunc(w.Under(dir), func(p state.Path) bool {
			f, _ := w.Get(p)
			return !f.Stock && f.Entry.Kind != state.Dir
		})
	}
	return func(w *convert.Work) error {
		a, b := inTree(from), inTree(to)
		switch {
		case !changed(w, a):
		case changed(w, b):
			w.Tell(convert.Finding{
				Class: convert.Approximated, Path: a, What: to + " is there already; what is here is not read there.", Next: "Put both into one place.",
			})
		default:
			tell(w, c, a, 0)
			w.Move(a, b)
		}
		return nil
	}
}

// format is how files with keys are written.
func format(name string) conf.Format {
	switch name {
	case "ini":
		return conf.Format{Comments: "#;", Equals: true, Sections: true}
	case "space":
		return conf.Format{Comments: "#;", Space: true}
	case "shell":
		return conf.Shell()
	}
	return conf.Format{Comments: "#;", Equals: true}
}

// edit has f change the files that match, and tells of each line that it names.
func edit(w *convert.Work, c pack.Conversion, file, kind string, f func(*conf.Doc) []int) {
	for _, p := range w.Changed(string(inTree(file))) {
		d := conf.Parse(format(kind), w.Text(p))
		for _, line := range f(d) {
			tell(w, c, p, line)
		}
		if now := d.Bytes(); string(now) != string(w.Text(p)) {
			w.Write(p, now)
		}
	}
}

func rename(c pack.Conversion, from, to string) func(*convert.Work) error {
	r := c.RenameKey
	return func(w *convert.Work) error {
		edit(w, c, r.File, r.Format, func(d *conf.Doc) (lines []int) {
			for _, l := range d.Find(from) {
				if r.Section == "" || l.Section == r.Section {
					lines = append(lines, l.No)
					d.Rename(l, to)
				}
			}
			return lines
		})
		return nil
	}
}

// pin writes a default out in the first of the files that people have changed, unless one of them says something.
func pin(c pack.Conversion, value string) func(*convert.Work) error {
	n := c.PinDefault
	says := func(d *conf.Doc) bool { return len(d.FindIn(n.Section, n.Key)) > 0 }
	return func(w *convert.Work) error {
		files := w.Changed(string(inTree(n.File)))
		if len(files) == 0 || slices.ContainsFunc(files, func(p state.Path) bool { return says(conf.Parse(format(n.Format), w.Text(p))) }) {
			return nil
		}
		line := n.Key + map[string]string{"space": " ", "shell": "="}[n.Format] + value
		if n.Format == "ini" || n.Format == "equals" {
			line = n.Key + " = " + value
		}
		d := conf.Parse(format(n.Format), w.Text(files[0]))
		d.Append(n.Section, fmt.Sprintf("# What Debian %d does by itself: %s", w.From.Number, c.Title), line)
		tell(w, c, files[0], 0)
		w.Write(files[0], d.Bytes())
		return nil
	}
}

// replace gives both ways; the second is nil where none is known.
func replace(c pack.Conversion) (forward, back func(*convert.Work) error) {
	r := c.Replace
	lines := func(change func(string) string) func(*convert.Work) error {
		return func(w *convert.Work) error {
			for _, p := range w.Changed(string(inTree(r.File))) {
				var b strings.Builder
				no, first := 0, 0
				for raw := range strings.Lines(string(w.Text(p))) {
					no++
					body := strings.TrimRight(raw, "\r\n")
					now := change(body)
					if now != body && first == 0 {
						first = no
					}
					b.WriteString(now + raw[len(body):])
				}
				if first > 0 {
					tell(w, c, p, first)
					w.Write(p, []byte(b.String()))
				}
			}
			return nil
		}
	}
	whole := func(from, to string) func(string) string {
		return func(line string) string {
			if at := strings.TrimSpace(line); at == strings.TrimSpace(from) {
				return strings.Replace(line, at, strings.TrimSpace(to), 1)
			}
			return line
		}
	}
	if r.Line != "" {
		return lines(whole(r.Line, r.With)), lines(whole(r.With, r.Line))
	}
	found := func(pattern, with string) func(*convert.Work) error {
		re := regexp.MustCompile(pattern) // pack.Load has tried it
		return lines(func(line string) string { return re.ReplaceAllString(line, with) })
	}
	if r.Back != nil {
		back = found(r.Back.Regexp, r.Back.With)
	}
	return found(r.Regexp, r.With), back
}

func program(c pack.Conversion, run Run) func(*convert.Work) error {
	return func(w *convert.Work) error {
		timeout, err := time.ParseDuration(c.Program.Timeout)
		if err != nil {
			return fmt.Errorf("timeout of the program: %w", err)
		}
		var patterns []string
		for _, f := range c.Program.Files {
			patterns = append(patterns, string(inTree(f)))
		}
		for _, p := range w.Changed(patterns...) {
			was := w.Text(p)
			command := slices.Concat(c.Program.Command, []string{fmt.Sprint(w.From.Number), fmt.Sprint(w.To.Number), "/" + string(p)})
			now, said, err := run(command, timeout, was)
			if err != nil {
				w.Tell(convert.Finding{
					Class: convert.Blocking, Path: p, What: fmt.Sprintf("The pack's program could not convert this file: %v. %s", err, strings.TrimSpace(string(said))), Next: c.Next,
				})
				continue
			}
			for line := range strings.Lines(string(said)) {
				if line = strings.TrimSpace(line); line != "" {
					w.Tell(convert.Finding{Class: convert.Approximated, Path: p, What: line, Next: c.Next})
				}
			}
			if string(now) != string(was) {
				tell(w, c, p, 0)
				w.Write(p, now)
			}
		}
		return nil
	}
}
