package pid1

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"sayasystems.com/atlas/initsvc/socket"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// Inventory is the hardware as found in this boot.
func (s *Server) Inventory(context.Context) (json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.st.inventory) == 0 {
		return nil, &socket.Refusal{Status: http.StatusServiceUnavailable, Msg: "the hardware has not been looked at in this boot; see the boot report"}
	}
	return s.st.inventory, nil
}

// Power begins an orderly end; it returns at once.
func (s *Server) Power(_ context.Context, r initapi.PowerRequest) error {
	if r.Action != "off" && r.Action != "reboot" {
		return &socket.Refusal{Status: http.StatusBadRequest, Msg: "unknown action " + r.Action + "; known are off and reboot"}
	}
	s.Ask(r)
	return nil
}

// Add takes a disk into the started set.
func (s *Server) Add(ctx context.Context, r initapi.AddRequest) error {
	s.mu.Lock()
	started := s.st.setStarted
	s.mu.Unlock()
	if !started {
		return socket.Refuse("no disk set is started on this server, so no disk can be added to one")
	}
	if err := s.store.Add(ctx, r); err != nil {
		return &socket.Refusal{Status: http.StatusConflict, Msg: err.Error()}
	}
	return nil
}

// Order takes an operator's decision while the server holds.
func (s *Server) Order(_ context.Context, o roles.Order) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st.state != initapi.Holding || s.st.setStarted {
		return socket.Refuse("an order is taken only while the server holds; it is %s", s.st.state)
	}
	if strings.TrimSpace(o.Set) == "" || len(o.Members) == 0 {
		return &socket.Refusal{Status: http.StatusBadRequest, Msg: "an order names a set and at least one member"}
	}
	if !slices.ContainsFunc(s.st.disks, func(d roles.Disk) bool { return d.Label != nil && d.Label.Set == o.Set }) {
		return socket.Refuse("no disk of set %s is in this server; `atlas status` lists the disks", o.Set)
	}
	s.st.order = &o
	s.nudge()
	return nil
}
