package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/sentry/initapi"
)

// Findings are what the Synchronizer has found, each once. There are two kinds. Set tells how things stand, until Clear takes it back; a new
// engine looks at all of that anew. Note tells what has happened: that is kept on the set, and ends after its time or when a person has
// acknowledged it. The zero value is ready to use, and keeps nothing before load.
type Findings struct {
	mu   sync.Mutex
	all  map[string]initapi.Finding
	file string           // where news are kept; "" = nowhere
	now  func() time.Time // nil: time.Now
}

// Errors of Acknowledge.
var (
	errNoFinding = errors.New("there is no such finding of this server's Synchronizer; atlas findings lists all")
	errElsewhere = errors.New("this finding tells how things stand: it ends by itself when that has been mended")
)

// load takes in the news that are kept in file, and forgets what an earlier engine told of how things stood, but for what keep says yes to.
func (f *Findings) load(file string, keep func(id string) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, n := range f.all {
		if !n.News && !keep(id) {
			delete(f.all, id)
		}
	}
	f.file = file
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var list []initapi.Finding
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil {
		return fmt.Errorf("read the news of %s: %w", file, err)
	}
	for _, n := range list {
		if _, ok := f.all[n.ID]; !ok && n.News {
			f.put(n)
		}
	}
	return nil
}

// put needs f.mu.
func (f *Findings) put(n initapi.Finding) {
	if f.all == nil {
		f.all = map[string]initapi.Finding{}
	}
	f.all[n.ID] = n
}

// Set tells a finding, or that it is still there: then it keeps its time.
func (f *Findings) Set(n initapi.Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.all[n.ID]; ok {
		n.Since = old.Since
	} else if n.Since.IsZero() {
		n.Since = f.clock().UTC()
	}
	f.put(n)
}

// Note tells what has happened, for so long or until a person acknowledges it; 0 = until that alone. What is told under the same name before
// gives way.
func (f *Findings) Note(n initapi.Finding, lasts time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n.News, n.Since = true, f.clock().UTC()
	n.Next += fmt.Sprintf(" When you have seen this: on %s, atlas findings ack %s", n.Where, n.ID)
	if lasts > 0 {
		n.Until = n.Since.Add(lasts)
		n.Next += fmt.Sprintf(" (or it ends by itself on %s)", n.Until.Local().Format("2 Jan at 15:04"))
	}
	n.Next += "."
	f.put(n)
	return f.save()
}

// save needs f.mu.
func (f *Findings) save() error {
	if f.file == "" {
		return nil
	}
	var list []initapi.Finding
	for _, n := range f.all {
		if n.News {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, older)
	data, err := json.Marshal(list)
	if err == nil {
		err = siteconf.WriteFile(f.file, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the news: %w", err)
	}
	return nil
}

// Clear takes a finding back.
func (f *Findings) Clear(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, id)
}

// clearAll takes back all findings whose names begin with prefix, but for those that keep says yes to.
func (f *Findings) clearAll(prefix string, keep func(rest string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.all {
		if rest, ok := strings.CutPrefix(id, prefix); ok && !keep(rest) {
			delete(f.all, id)
		}
	}
}

// Acknowledge ends news that a person has seen.
func (f *Findings) Acknowledge(id string) (initapi.Finding, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.all[id]
	switch {
	case !ok:
		return n, fmt.Errorf("%.80q: %w", id, errNoFinding)
	case !n.News:
		return n, errElsewhere
	}
	delete(f.all, id)
	return n, f.save()
}

// List gives all, the oldest first.
func (f *Findings) List() []initapi.Finding {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]initapi.Finding, 0, len(f.all))
	now := f.clock()
	for id, n := range f.all {
		if !n.Until.IsZero() && now.After(n.Until) {
			delete(f.all, id) // from the file with the next that is kept there
			continue
		}
		out = append(out, n)
	}
	slices.SortFunc(out, older)
	return out
}

func older(a, b initapi.Finding) int {
	if c := a.Since.Compare(b.Since); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

func (f *Findings) clock() time.Time {
	if f.now != nil {
		return f.now()
	}
	return time.Now()
}

// note tells news of the engine.
func (e *Engine) note(n initapi.Finding, lasts time.Duration) {
	if err := e.cfg.Findings.Note(n, lasts); err != nil {
		e.log.Warn("news are told until the next restart only", "finding", n.ID, "err", err)
	}
}

// Acknowledge ends a finding about what has happened, which a person has seen. The name may be as the site tells it, with the server's behind.
func (e *Engine) Acknowledge(id string) (initapi.Finding, error) {
	n, err := e.cfg.Findings.Acknowledge(strings.TrimSuffix(id, "-"+e.cfg.Server))
	if err == nil {
		e.log.Info("finding acknowledged", "finding", n.ID)
		e.cfg.Changed()
	}
	return n, err
}
