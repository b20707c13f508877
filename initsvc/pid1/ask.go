package pid1

import (
	"errors"
	"time"
)

// Healthy tells the watchdog whether init works: whoever holds its lock must give it back. It returns an error when that takes
// longer than a moment.
func (s *Server) Healthy() error {
	ok := make(chan struct{})
	s.guard.Go("health", func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(ok)
	})
	select {
	case <-ok:
		return nil
	case <-time.After(5 * time.Second):
		return errors.New("init's state is locked")
	}
}

// SiteName is the site's name for people, "" while it is not known.
func (s *Server) SiteName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.peers.SiteName
}

// Based is closed once the base phases have run.
func (s *Server) Based() <-chan struct{} { return s.based }

// CheckPassword tells whether pw is the administrator's password; compare is bcrypt's.
func (s *Server) CheckPassword(pw string, compare func(hash, pw []byte) error) error {
	s.mu.Lock()
	hash := s.st.peers.Admin
	s.mu.Unlock()
	if hash == "" {
		return errors.New("The password is not known here, since this server's own settings cannot be read. Boot from the install stick: it has a shell.") //nolint:revive,staticcheck // shown as it is
	}
	if compare([]byte(hash), []byte(pw)) != nil {
		return errors.New("That is not the administrator's password.") //nolint:revive,staticcheck // shown as it is
	}
	return nil
}
