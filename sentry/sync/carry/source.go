package carry

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// Source is where changes come from: a set in a stretch of its life. Which server it is in does not matter.
type Source struct {
	Site    string   `json:"site"`
	Set     string   `json:"set"`
	Lineage []string `json:"lineage"`           // newest name first, back to the first
	GaveUp  []string `json:"gave_up,omitempty"` // names of lineages that an operator gave up in favour of this one
}

// SourceOf is what the label of a primary set says.
func SourceOf(l roles.Label) Source {
	s := Source{Site: l.Site, Set: l.Set, Lineage: slices.Clone(l.Lineage)}
	// The name that a set is made with stands in no list.
	made := l
	made.Lineage = nil
	if first := made.Head(); !slices.Contains(s.Lineage, first) && len(s.Lineage) < maxNames {
		s.Lineage = append(s.Lineage, first)
	}
	for _, a := range l.Aside {
		if _, head, ok := strings.Cut(a, "@"); ok && !slices.Contains(s.GaveUp, head) {
			s.GaveUp = append(s.GaveUp, head)
		}
	}
	return s
}

// Head is the newest name of the lineage.
func (s Source) Head() string {
	if len(s.Lineage) == 0 {
		return ""
	}
	return s.Lineage[0]
}

func (s Source) check() error {
	if !nameID.MatchString(s.Site) || !nameID.MatchString(s.Set) {
		return errors.New("site or set is not a name")
	}
	if len(s.Lineage) == 0 || len(s.Lineage) > maxNames || len(s.GaveUp) > maxNames {
		return errors.New("the set's lineage is missing or endless")
	}
	for _, n := range slices.Concat(s.Lineage, s.GaveUp) {
		if !nameID.MatchString(n) {
			return errors.New("a lineage is not a name")
		}
	}
	return nil
}

// follows tells whether a receiver that had its state from old may take more from s; nil if so. Another set may follow: an operator made
// it the primary, which attestations tell, and history tells whether its state continues what is here.
func (s Source) follows(old Source) error {
	switch {
	case old.Set == "" || s.Set != old.Set, slices.Contains(s.Lineage, old.Head()), slices.Contains(s.GaveUp, old.Head()):
		return nil
	case slices.Contains(old.Lineage, s.Head()):
		return refuse(CodeLineage, "these disks hold an older state of the primary set than the one that this server follows: disks that had left the set "+
			"were started again; put the newest disks in, or order on the console which of them count")
	default:
		return refuse(CodeLineage, "these disks of the primary set ran apart from those that this server follows; put those back, or order on the console "+
			"which of them count")
	}
}

// followed is what a receiver remembers: the source that it follows, and those of other sets that it followed before.
type followed struct {
	Source
	Past []Source `json:"past,omitempty"`
}

// maxPast bounds how many sets are remembered.
const maxPast = 8

// next gives what is to be remembered when src is followed; nil if that changes nothing.
func (f followed) next(src Source) (*followed, error) {
	for _, old := range append([]Source{f.Source}, f.Past...) {
		if err := src.follows(old); err != nil {
			return nil, err
		}
	}
	if src.Set == f.Set && src.Head() == f.Head() && len(src.GaveUp) == len(f.GaveUp) {
		return nil, nil
	}
	n := &followed{Source: src}
	for _, old := range append([]Source{f.Source}, f.Past...) {
		if old.Set != "" && old.Set != src.Set && len(n.Past) < maxPast {
			n.Past = append(n.Past, old)
		}
	}
	return n, nil
}

// loadFollowed reads what save wrote; the zero value if there is nothing. What cannot be read is an error: without it an old state could not
// be told from a new one.
func loadFollowed(path string) (followed, error) {
	var f followed
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("read where changes came from: %w", err)
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("read where changes came from: %s is damaged: %w", path, err)
	}
	for _, s := range append([]Source{f.Source}, f.Past...) {
		if err := s.check(); err != nil {
			return f, fmt.Errorf("read where changes came from: %s is damaged: %w", path, err)
		}
	}
	return f, nil
}

func (f followed) save(path string) error {
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("save where changes come from: %w", err)
	}
	return siteconf.WriteFile(path, data, 0o600)
}
