package hosttool

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Unpack lays out Debian packages, and what they need and this machine has not, below dir. Nothing of this machine is changed.
func Unpack(ctx context.Context, dir string, packages ...string) error {
	debs := filepath.Join(dir, "debs")
	if err := os.MkdirAll(filepath.Join(debs, "partial"), 0o755); err != nil {
		return err
	}
	args := append([]string{
		"install", "-qq", "-y", "--no-install-recommends", "--download-only", "--reinstall", "-o", "Dir::Cache::archives=" + debs, "-o", "APT::Sandbox::User=root",
	}, packages...)
	var out []byte
	var err error
	for _, args := range [][]string{args, {"update", "-qq"}, args} { // apt's lists may not be there, or be old
		if out, err = exec.CommandContext(ctx, "apt-get", args...).CombinedOutput(); err == nil && args[0] == "install" {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("fetch %v from Debian: %w: %s", packages, err, bytes.TrimSpace(out))
	}
	found, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range found {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", filepath.Base(deb), err, bytes.TrimSpace(out))
		}
	}
	return nil
}
