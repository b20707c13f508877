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

// remember notes labels that are about to be written, or were, durably.
func (s *Server) remember(labels ...roles.Label) error {
	s.mu.Lock()
	old := s.st.seen
	s.mu.Unlock()
	seen := slices.Clone(old)
	for _, l := range labels {
		seen = roles.Remember(seen, l)
	}
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
