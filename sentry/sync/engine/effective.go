package engine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/convert/effective"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Effective is how a service is asked what it really works with (package effective). A primary asks while a server of another release of Debian
// follows it, and records the answer; that server asks its own side the same once a state of the primary is live there, and compares.
type Effective struct {
	Service string
	Ask     Command
	Running bool         // only the running daemon can tell
	Paths   []state.Path // files and dumps that the answer depends on, with all below
	Names   []string     // of this server, which another cannot have
	effective.Rules
}

// asked is what an engine knows of settings in effect. All of it is the loop's.
type asked struct {
	busy  bool
	begun bool              // everything has been looked at for head
	head  string            // for which no pack was left
	files map[string]string // by pack: what its answer was recorded with, or compared for
	again map[string]time.Time
}

// settle is how long files are left alone before a service is asked, and for how long after that they must have stayed the same: what was just
// written is not recorded yet.
const settle = 2 * time.Second

// effectiveDir is where a primary records the answers.
const effectiveDir state.Path = state.Exports + "/image/effective"

func effectivePath(service string) state.Path { return effectiveDir + "/" + state.Path(service) }

// effectiveOf gathers what a pack says of its settings in effect.
func effectiveOf(p pack.Pack, v pack.Vars) (*Effective, error) {
	x := p.Effective
	if x == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	args, err := pack.ExpandAll(x.Command, v)
	if err != nil {
		return nil, p.Errorf("effective.command", "%v", err)
	}
	out := &Effective{
		Service: p.Name, Ask: Command{Args: args, User: x.User, Timeout: duration(x.Timeout)}, Running: x.Running,
		Names: []string{v.Service, v.Service6, v.Management, v.Address},
		Rules: effective.Rules{Service: x.Service, Own: x.Own, Guards: x.Guards},
	}
	for _, c := range p.Config {
		if q := state.Path(strings.Trim(c, "/")); q.Check() == nil && !strings.Contains(c, "{{") {
			out.Paths = append(out.Paths, q)
		}
	}
	for _, name := range x.Exports {
		out.Paths = append(out.Paths, class.ExportPath(p.Name, name))
	}
	for i, s := range x.Ships {
		ship := effective.Ship{Name: s.Name, Values: map[int]string{}}
		for release, value := range s.Values {
			n, err := strconv.Atoi(release)
			if err != nil {
				return nil, p.Errorf(fmt.Sprintf("effective.ships[%d].values", i), "%v", err)
			}
			ship.Values[n] = value
		}
		out.Ships = append(out.Ships, ship)
	}
	return out, nil
}

// filesOf names the files of a state that a pack's settings depend on: the same ones have the same name.
func (e *Engine) filesOf(commit string, x Effective) (string, error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, root := range x.Paths {
		err := e.repo.Walk(commit, root, func(p state.Path, entry state.Entry) error {
			if !p.Under(state.Exports) && e.facts.Class(p) != class.Shared {
				return nil
			}
			return enc.Encode(struct {
				Path  state.Path
				Entry state.Entry
			}{p, entry})
		})
		if err != nil && !errors.Is(err, history.ErrNotFound) {
			return "", err
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:16]), nil
}

// otherRelease tells whether a server follows that runs another release of Debian: only then there is anything to compare.
func (e *Engine) otherRelease() bool {
	for _, s := range e.cfg.Sender.Status() {
		if s.Debian != "" && s.Debian != e.cfg.Debian {
			return true
		}
	}
	return false
}

// recordEffective asks the services whose files have changed since they were asked, apart from the loop, and records what they say.
func (e *Engine) recordEffective(ctx context.Context) {
	a := &e.asked
	head, ok := e.repo.Head(state.Site)
	if e.cfg.ImageRoot == "" || len(e.facts.Effective) == 0 || a.busy || !ok || a.begun && a.head == head.ID || !e.otherRelease() {
		return
	}
	release, err := strconv.Atoi(e.cfg.Debian)
	if err != nil {
		return
	}
	due, later := e.due(head.ID, a.files)
	if len(due) == 0 {
		a.head, a.begun = head.ID, !later
		return
	}
	a.busy = true
	e.background.Go(func() {
		for _, d := range due {
			said, err := e.ask(ctx, d.x)
			if ctx.Err() != nil {
				return
			}
			_ = e.do(ctx, func(ctx context.Context) error {
				e.recordAnswer(ctx, d, effective.Record{Release: release, Server: e.cfg.Server, Files: d.files, Settings: said}, err)
				return nil
			})
		}
		_ = e.do(ctx, func(context.Context) error { a.busy = false; return nil })
	})
}

// question is one service to be asked, and with which files.
type question struct {
	x     Effective
	files string
}

// due lists the services whose files are others than those that done names. later: there are some that cannot be asked yet.
func (e *Engine) due(commit string, done map[string]string) (due []question, later bool) {
	for _, x := range e.facts.Effective {
		files, err := e.filesOf(commit, x)
		switch {
		case err != nil:
			e.log.Warn("the files of a service cannot be told", "service", x.Service, "err", err)
		case files == done[x.Service]:
		case x.Running && !e.ready(x.Service), time.Now().Before(e.asked.again[x.Service]):
			later = true
		default:
			due = append(due, question{x, files})
		}
	}
	return due, later
}

// ask asks one service. Apart from the loop.
func (e *Engine) ask(ctx context.Context, x Effective) (effective.Settings, error) {
	if !sleep(ctx, settle) {
		return nil, ctx.Err()
	}
	text, err := e.run(ctx, x.Ask, nil)
	if err == nil && !sleep(ctx, settle) {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return effective.ParseSettings(text)
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// notAsked begins the names of findings about services that could not be asked.
const notAsked = "sync-effective-ask-"

// answered takes whether a service could be asked with the files that are there now; if not, it is asked again.
func (e *Engine) answered(line state.Branch, d question, err error) bool {
	a := &e.asked
	service := d.x.Service
	head, ok := e.repo.Head(line)
	if files, ferr := e.filesOf(head.ID, d.x); !ok || ferr != nil || files != d.files {
		return false // changed meanwhile
	}
	if err == nil {
		delete(a.again, service)
		e.cfg.Findings.Clear(notAsked + service)
		return true
	}
	a.again[service] = time.Now().Add(e.cfg.again)
	if d.x.Running && !e.ready(service) {
		return false
	}
	e.log.Warn("the settings in effect cannot be told", "service", service, "err", err)
	e.cfg.Findings.Set(initapi.Finding{
		ID: notAsked + service, Severity: "warning", Where: e.cfg.Server,
		What: fmt.Sprintf("%s of %s does not tell what its settings come to (%v), so nobody can see whether they come to the same on the servers of another release.",
			e.title(service), e.cfg.Server, err),
		Next: "Look whether the service's configuration has mistakes; it is asked again by itself.",
	})
	return false
}

// recordAnswer is done in the loop.
func (e *Engine) recordAnswer(ctx context.Context, d question, r effective.Record, err error) {
	if !e.answered(state.Site, d, err) {
		return
	}
	e.asked.files[d.x.Service] = d.files
	e.record(ctx, noFile(effectivePath(d.x.Service), r.Encode()), history.Meta{
		Who: state.Who{Service: d.x.Service}, Title: "what the settings come to: " + e.title(d.x.Service), Image: e.image,
	}, 0)
}
