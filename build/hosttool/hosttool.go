// Package hosttool tells which few programs a workstation must have to build, and which Debian package brings each. All others
// come from the tools root; what benchmarks compare with is unpacked aside (Unpack), not installed.
package hosttool

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// packages maps programs to the Debian packages that have them.
func packages() map[string]string {
	return map[string]string{
		"mmdebstrap": "mmdebstrap",
		"apt-get":    "apt",
		"unshare":    "util-linux",
		"nsenter":    "util-linux",
		"mount":      "mount",
		"chroot":     "coreutils",
		"ip":         "iproute2",
		"gcc":        "gcc libc6-dev", // the race detector
	}
}

// keyring is checked by file: mmdebstrap needs it to trust Debian's archive.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// MissingError names programs that are not there.
type MissingError struct {
	Programs []string
	Packages []string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s: not found on this machine; install with: apt-get install --no-install-recommends %s",
		strings.Join(e.Programs, ", "), strings.Join(e.Packages, " "))
}

// Need returns a *MissingError when one of the programs is not in PATH.
func Need(programs ...string) error {
	var e MissingError
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		e.add(p, packages()[p])
	}
	if len(e.Programs) > 0 {
		return &e
	}
	return nil
}

func (e *MissingError) add(program, pkg string) {
	e.Programs = append(e.Programs, program)
	if pkg == "" {
		pkg = program
	}
	for p := range strings.FieldsSeq(pkg) {
		if !slices.Contains(e.Packages, p) {
			e.Packages = append(e.Packages, p)
		}
	}
}

// Missing checks everything that building and the lab need of the host.
func Missing() *MissingError {
	var e MissingError
	names := []string{}
	for p := range packages() {
		names = append(names, p)
	}
	slices.Sort(names)
	for _, p := range names {
		if _, err := exec.LookPath(p); err != nil {
			e.add(p, packages()[p])
		}
	}
	if _, err := os.Stat(keyring); err != nil {
		e.add(keyring, "debian-archive-keyring")
	}
	if len(e.Programs) == 0 {
		return nil
	}
	return &e
}

// Setup installs what is missing when it runs as root, and else says how.
func Setup(ctx context.Context, stdout, stderr io.Writer) error {
	miss := Missing()
	if miss == nil {
		fmt.Fprintln(stdout, "everything that the builder needs of this machine is here")
		return nil
	}
	if os.Geteuid() != 0 {
		return miss
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this machine has no apt-get; install these yourself: %s", strings.Join(miss.Packages, " "))
	}
	fmt.Fprintln(stdout, "installing:", strings.Join(miss.Packages, " "))
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-q", "-y", "--no-install-recommends"}, miss.Packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = stdout, stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("apt-get %s: %w", args[0], err)
		}
	}
	if miss := Missing(); miss != nil {
		return miss
	}
	return nil
}
