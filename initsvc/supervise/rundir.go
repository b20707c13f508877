package supervise

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/pack"
)

// makeRunDir makes a directory below /run with its owner.
func makeRunDir(r pack.RunDir) error {
	d, err := privateDir(r)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(d.Path) {
		d.Path = filepath.Join("/run", d.Path)
	}
	if err := os.MkdirAll(d.Path, 0o755); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	if err := os.Chown(d.Path, d.UID, d.GID); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	if err := unix.Chmod(d.Path, d.Mode); err != nil { // after chown, which clears the setgid bit
		return fmt.Errorf("run directory %s: %w", d.Path, err)
	}
	return nil
}
