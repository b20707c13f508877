package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/office"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// Status is the lab as it is now.
type Status struct {
	Dir      string           `json:"dir"`
	Kind     string           `json:"kind"`
	Image    string           `json:"image"`
	KVM      bool             `json:"kvm"`
	Admin    folder.Admin     `json:"admin"`
	Servers  []ServerStatus   `json:"servers"`
	Shelf    []folder.Disk    `json:"shelf"`
	Forwards []folder.Forward `json:"forwards"`
}

// ServerStatus is one server as it is now. Role, State, Ready and Set are what it says itself.
type ServerStatus struct {
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`
	Power     string     `json:"power"` // "on" or "off"
	Role      roles.Role `json:"role"`
	State     string     `json:"state"` // initapi's; "off" without power; "unreachable" if it does not answer (yet)
	Ready     bool       `json:"ready"`
	Set       string     `json:"set"`
	Bays      []Bay      `json:"bays"`
	Addresses Addresses  `json:"addresses"`
	Installed bool       `json:"installed"`
	Error     string     `json:"error,omitempty"` // why it does not answer
}

// Bay is one bay; Serial is empty when no disk is in it.
type Bay struct {
	Bay    int    `json:"bay"`
	Serial string `json:"serial"`
	Size   int64  `json:"size,omitempty"`
}

// Addresses are where a server is reached from the office.
type Addresses struct {
	Management string `json:"management"`
	Service    string `json:"service"` // the site's; announced by the primary only
	Dashboard  string `json:"dashboard"`
	MAC        string `json:"mac"` // of the network card
}

// Off is the state of a server without power, Unreachable of one that has power and does not answer.
const (
	Off         = "off"
	Unreachable = "unreachable"
)

// Status asks everything and everybody. A server that does not answer is not an error.
func (l *Lab) Status(ctx context.Context) (Status, error) {
	state, err := l.Folder.Load()
	if err != nil {
		return Status{}, err
	}
	st := Status{Dir: l.Folder.Dir, Kind: state.Kind, Image: state.Image, KVM: state.KVM, Admin: state.Admin, Forwards: state.Forwards, Servers: make([]ServerStatus, len(state.Servers))}
	if st.Shelf, err = l.Folder.OnShelf(); err != nil {
		return st, err
	}
	err = l.each(ctx, func(s Server, chassis folder.Server) error {
		v := ServerStatus{
			Name: chassis.Name, Kind: state.Kind, Power: "off", State: Off, Installed: chassis.Installed,
			Addresses: Addresses{
				Management: chassis.Address, Service: office.Service, MAC: chassis.MAC,
				Dashboard: fmt.Sprintf("https://%s:%d/", chassis.Address, layout.DashboardPort),
			},
		}
		disks, err := l.Folder.Disks(chassis.Name)
		if err != nil {
			return err
		}
		for bay := 1; bay <= folder.Bays; bay++ {
			v.Bays = append(v.Bays, Bay{Bay: bay, Serial: disks[bay].Serial, Size: disks[bay].Size})
		}
		if s.On() {
			v.Power, v.State = "on", Unreachable
			l.ask(ctx, state.Admin, chassis, &v)
		}
		st.Servers[slices.IndexFunc(state.Servers, func(o folder.Server) bool { return o.Name == chassis.Name })] = v
		return nil
	})
	return st, err
}

// ask fills in what the server says: the whole page's data, or, where the login is not known yet, its short answer.
func (l *Lab) ask(ctx context.Context, admin folder.Admin, s folder.Server, v *ServerStatus) {
	h, err := l.Health(ctx, s)
	if err != nil {
		v.Error = err.Error()
		return
	}
	v.State, v.Role, v.Ready = h.State, h.Role, h.Ready
	var page struct {
		Servers []struct {
			Name  string         `json:"name"`
			State *initapi.State `json:"state"`
		} `json:"servers"`
	}
	if err := l.get(ctx, s, "/api/v1/status", &admin, &page); err != nil {
		v.Error = err.Error()
		return
	}
	for _, p := range page.Servers {
		if p.Name == s.Name && p.State != nil && p.State.Set != nil {
			v.Set = p.State.Set.ID
		}
	}
}

// Health is a server's short answer about itself, for which no login is needed.
type Health struct {
	Server string     `json:"server"`
	State  string     `json:"state"`
	Role   roles.Role `json:"role"`
	Ready  bool       `json:"ready"`
}

// Health asks a server.
func (l *Lab) Health(ctx context.Context, s folder.Server) (Health, error) {
	var h Health
	err := l.get(ctx, s, "/healthz", nil, &h)
	return h, err
}

func (l *Lab) get(ctx context.Context, s folder.Server, path string, admin *folder.Admin, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := fmt.Sprintf("https://%s:%d%s", s.Address, layout.DashboardPort, path)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", s.Name, err)
	}
	if admin != nil {
		req.SetBasicAuth(admin.User, admin.Password)
	}
	resp, err := l.HTTP().Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", s.Name, err)
	}
	defer resp.Body.Close()
	// Health is told with status 503 while a server is not ready; it is an answer all the same.
	if resp.StatusCode != http.StatusOK && (admin != nil || resp.StatusCode != http.StatusServiceUnavailable) {
		return fmt.Errorf("ask %s: %s: %s", s.Name, url, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("ask %s: %s: %w", s.Name, url, err)
	}
	return nil
}

// WaitStates returns what WaitFor can wait for.
func WaitStates() []string {
	return []string{string(roles.Primary), string(roles.Secondary), initapi.Holding, "ready", "up", Off}
}

// WaitFor waits until a server is primary, secondary or holding, has all its services ready ("ready"), answers at all ("up"), or
// has no power ("off"). It gives up at once when the server loses its power meanwhile.
func (l *Lab) WaitFor(ctx context.Context, name, want string) error {
	if !slices.Contains(WaitStates(), want) {
		return fmt.Errorf("cannot wait for %q; say one of %q", want, WaitStates())
	}
	state, err := l.Folder.Load()
	if err != nil {
		return err
	}
	chassis, err := state.Server(name)
	if err != nil {
		return err
	}
	s, err := l.server(ctx, state, chassis)
	if err != nil {
		return err
	}
	last := "it does not answer yet"
	for {
		if !s.On() {
			if want == Off {
				return nil
			}
			return fmt.Errorf("%s is off; the end of its console: lab console %s --log", name, name)
		}
		h, err := l.Health(ctx, chassis)
		switch {
		case err != nil:
			if ctx.Err() == nil {
				last = err.Error()
			}
		case h.is(want):
			return nil
		default:
			last = fmt.Sprintf("it is %s, role %q, ready: %v", h.State, h.Role, h.Ready)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not %s in time: %s; its console: lab console %s --log", name, want, last, name)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (h Health) is(want string) bool {
	switch want {
	case "up":
		return true
	case "ready":
		return h.Ready
	case initapi.Holding:
		return h.State == initapi.Holding
	}
	return h.State == initapi.Serving && string(h.Role) == want
}
