package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sayasystems.com/atlas/sentry/convert"
)

// mergeAccounts merges one account file line by line into dir.
func mergeAccounts(dir, baseDir, imageDir, name string) error {
	base, err := os.ReadFile(filepath.Join(baseDir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	image, err := os.ReadFile(filepath.Join(imageDir, name))
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	ours, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	// In place: owner and mode are ours, and the whole tree is still under a temporary name.
	if err := os.WriteFile(path, convert.MergeAccounts(base, image, ours), 0o600); err != nil {
		return fmt.Errorf("merge accounts: %w", err)
	}
	return nil
}
