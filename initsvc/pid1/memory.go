package pid1

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// memoryFile, in the state partition, is what this server remembers of the sets that it ran: the last label of each. It catches
// a set's older disk that is put in after a newer one ran here.
const memoryFile = "seen.json"

func loadMemory(stateDir string) ([]roles.Holding, error) {
	data, err := os.ReadFile(filepath.Join(stateDir, memoryFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("memory of labels: %w", err)
	}
	var seen []roles.Holding
	if err := json.Unmarshal(data, &seen); err != nil {
		return nil, fmt.Errorf("memory of labels %s: %w", memoryFile, err)
	}
	return seen, nil
}

// rememberer is a store that tells of every label before and after it writes it.
type rememberer interface {
	Remember(note func(l roles.Label, done bool) error)
}

// remember notes durably a label that is about to be written, or (done) was.
func (s *Server) remember(l roles.Label, done bool) error {
	s.remembering.Lock() // a slow disk must not hold up those who ask for the state
	defer s.remembering.Unlock()
	s.mu.Lock()
	old := s.st.seen
	s.mu.Unlock()
	seen := roles.Remember(old, l, done)
	if slices.Equal(seen, old) {
		return nil
	}
	data, err := json.MarshalIndent(seen, "", "  ")
	if err != nil {
		return fmt.Errorf("memory of labels: %w", err)
	}
	if err := siteconf.WriteFile(filepath.Join(s.o.Dirs.State, memoryFile), data, 0o644); err != nil {
		return fmt.Errorf("memory of labels: %w", err)
	}
	s.mu.Lock()
	s.st.seen = seen
	s.mu.Unlock()
	return nil
}

// isNews tells whether the memory does not have l, or only something older of its set.
func (s *Server) isNews(l roles.Label) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.st.seen {
		if h.Set == l.Set && h.Generation >= l.Generation {
			return false
		}
	}
	return true
}
