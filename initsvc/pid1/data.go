package pid1

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/socket"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// Forms brings services' data into the form of this image: initsvc/upgrade.
type Forms interface {
	// Ready makes the data of a pack fit, or tells why its service must not start. standby: the set is a secondary's.
	Ready(ctx context.Context, p pack.Pack, standby bool) error
	// Refusal makes a finding of Ready's error.
	Refusal(p pack.Pack, server string, err error) initapi.Finding
	// Findings tell what going back to an older release would lose, or has lost.
	Findings(p pack.Pack, server string) []initapi.Finding
	// Status tells what the image can take, and with set what the set has.
	Status(packs []pack.Pack, set bool) []initapi.DataForm
	// Open lists what Commit would remove.
	Open(packs []pack.Pack) ([]string, error)
	Commit(ctx context.Context, packs []pack.Pack) (freed int64, titles []string, err error)
}

// dataPatience is how long a boot waits for data before it starts the services whose data fit: the others follow when theirs do.
const dataPatience = 20 * time.Second

// dataWork is the work on each pack's data. The zero value is usable.
type dataWork struct {
	mu   sync.Mutex
	work map[string]*oneWork
}

type oneWork struct {
	done  chan struct{}
	err   error
	fresh bool // nobody but the boot's phase has heard of the result
}

// refused tells that a service does not start for its data.
func (w *dataWork) refused(service string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.work[service]
	if o == nil {
		return false
	}
	select {
	case <-o.done:
		return o.err != nil
	default:
		return false
	}
}

// open tells that the data of a service are not known to fit.
func (w *dataWork) open(service string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.work[service]
	if o == nil {
		return false
	}
	select {
	case <-o.done:
		return o.err != nil
	default:
		return true
	}
}

// ended waits until no work on data goes on: the set could not be unmounted.
func (w *dataWork) ended(ctx context.Context) error {
	w.mu.Lock()
	work := maps.Clone(w.work)
	w.mu.Unlock()
	for name, o := range work {
		select {
		case <-o.done:
		case <-ctx.Done():
			return fmt.Errorf("data of %s: %w", name, ctx.Err())
		}
	}
	return nil
}

// bringData is the boot's phase: most data fit, and small ones are brought forward while it waits.
func (s *Server) bringData(ctx context.Context) (string, error) {
	if s.forms == nil {
		return "", nil
	}
	start := time.Now()
	var packs []pack.Pack
	for _, p := range s.sitePacks() {
		if len(p.Formats) > 0 {
			packs = append(packs, p)
			s.beginData(p, true)
		}
	}
	limit := time.NewTimer(dataPatience)
	defer limit.Stop()
	var notes []string
	for _, p := range packs {
		s.data.mu.Lock()
		o := s.data.work[p.Name]
		s.data.mu.Unlock()
		select {
		case <-o.done:
			if o.err != nil {
				notes = append(notes, p.Name+" does not start: see its finding")
			}
		case <-limit.C:
			limit.Reset(0)
			notes = append(notes, p.Name+" starts when its data have been brought forward")
		case <-ctx.Done():
			return strings.Join(notes, "; "), ctx.Err()
		}
	}
	s.guard.Keep(s.lifetime, "forms of data", s.watchForms)
	if len(notes) == 0 && time.Since(start) > time.Second {
		notes = []string{"data brought into the form of this release"}
	}
	return strings.Join(notes, "; "), nil
}

// beginData begins the work on a pack's data unless it is being done. It lives as long as init, not as a phase or an order.
func (s *Server) beginData(p pack.Pack, boot bool) *oneWork {
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	if o := s.data.work[p.Name]; o != nil {
		select {
		case <-o.done:
			if o.fresh && !boot {
				o.fresh = false
				return o
			}
		default:
			return o
		}
	}
	o := &oneWork{done: make(chan struct{}), fresh: boot}
	if s.data.work == nil {
		s.data.work = map[string]*oneWork{}
	}
	s.data.work[p.Name] = o
	ctx := s.lifetime
	if ctx == nil { // only in tests
		ctx = context.Background()
	}
	s.guard.Go("data of "+p.Name, func() {
		o.err = errors.New("its data: the work on them crashed; see the log")
		defer close(o.done)
		o.err = s.fitData(ctx, p)
	})
	return o
}

func (s *Server) fitData(ctx context.Context, p pack.Pack) error {
	s.mu.Lock()
	standby := s.st.decision.Role == roles.Secondary
	s.mu.Unlock()
	err := s.forms.Ready(ctx, p, standby)
	s.findings.clear("data-working-" + p.Name)
	s.findings.clear("data-refused-" + p.Name)
	if err != nil && ctx.Err() == nil {
		f := s.forms.Refusal(p, s.name(), err)
		s.findings.set(f)
		s.log.Error("data do not fit this image", "service", p.Name, "err", err)
		return errors.New(f.What)
	}
	s.tellForms(p)
	return err
}

// dataReady holds a service back until its data fit.
func (s *Server) dataReady(ctx context.Context, p pack.Pack) error {
	if s.forms == nil || len(p.Formats) == 0 {
		return nil
	}
	o := s.beginData(p, false)
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withData are those of the services that can be waited for: whose data fit, and that need none whose do not.
func (s *Server) withData(names []string) []string {
	open := map[string]bool{}
	var out []string
	for _, p := range s.sitePacks() { // each stands after what it needs
		open[p.Name] = s.data.open(p.Name) || slices.ContainsFunc(p.Needs, func(n string) bool { return open[n] })
		if slices.Contains(names, p.Name) && !open[p.Name] {
			out = append(out, p.Name)
		}
	}
	return out
}

func (s *Server) dataProgress(service, text string) {
	s.findings.set(initapi.Finding{
		ID: "data-working-" + service, Severity: "warning", Where: s.name() + " " + service,
		What: "The data of " + service + " are being brought into the form of this release: " + text + ". It starts when that is done.",
		Next: "Wait. It may be cut off at any time: the next start begins anew, with the data as they were.",
	})
}

// tellForms tells what going back to an older release would lose, or has lost.
func (s *Server) tellForms(p pack.Pack) {
	s.mu.Lock()
	standby := s.st.decision.Role == roles.Secondary
	s.mu.Unlock()
	told := map[string]bool{}
	for _, f := range s.forms.Findings(p, s.name()) {
		told[f.ID] = true
		if standby { // its data are nobody's: the primary's come with the primary's set
			f.Severity = "info"
		}
		s.findings.set(f)
	}
	for _, id := range []string{"data-forward-" + p.Name, "data-back-" + p.Name, "data-aside-" + p.Name} {
		if !told[id] {
			s.findings.clear(id)
		}
	}
}

// watchForms keeps what is told to other servers: by it they know long before a swap whether they could take these data.
func (s *Server) watchForms(ctx context.Context) {
	for {
		s.lookAtForms()
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Minute):
		}
	}
}

func (s *Server) lookAtForms() {
	s.mu.Lock()
	packs, started := s.st.packs, s.st.setStarted
	s.mu.Unlock()
	forms := s.forms.Status(packs, started)
	chosen := names(s.sitePacks())
	for i := range forms {
		if !slices.Contains(chosen, forms[i].Service) { // whatever lies there, nobody misses it after a swap
			forms[i].Form = 0
		}
	}
	s.mu.Lock()
	s.st.dataForms = forms
	s.mu.Unlock()
}

// Commit gives up the way back to an older release for the data of services.
func (s *Server) Commit(ctx context.Context, r initapi.CommitRequest) (initapi.Committed, error) {
	out := initapi.Committed{Kept: []string{}}
	s.mu.Lock()
	packs, serving := slices.Clone(s.st.packs), s.st.state == initapi.Serving
	s.mu.Unlock()
	if !serving || s.forms == nil {
		return out, socket.Refuse("no disk set serves on this server; start one first")
	}
	packs = slices.DeleteFunc(packs, func(p pack.Pack) bool { return len(p.Formats) == 0 })
	for _, n := range r.Services {
		if !slices.ContainsFunc(packs, func(p pack.Pack) bool { return p.Name == n }) {
			return out, &socket.Refusal{Status: http.StatusNotFound, Msg: fmt.Sprintf("no service %s whose data have a form of their own; those that have: %s", n, strings.Join(names(packs), ", "))}
		}
	}
	if len(r.Services) > 0 {
		packs = slices.DeleteFunc(packs, func(p pack.Pack) bool { return !slices.Contains(r.Services, p.Name) })
	}
	for _, p := range packs {
		if s.data.open(p.Name) {
			return out, socket.Refuse("the data of %s do not fit this release, or are being brought into its form: wait until it serves, or see its finding", p.Name)
		}
	}
	kept, err := s.forms.Open(packs)
	if err != nil {
		return out, err
	}
	out.Kept = append(out.Kept, kept...)
	if r.Ask || len(kept) == 0 {
		return out, nil
	}
	out.Freed, _, err = s.forms.Commit(ctx, packs)
	for _, p := range packs {
		s.tellForms(p)
	}
	s.lookAtForms()
	return out, err
}
