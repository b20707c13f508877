// Package toolsroot gives the builder and the lab their programs: a small Debian 13 root, made once by mmdebstrap and kept in
// the cache, with QEMU, firmware, mksquashfs, mkfs and the lab's clients in it. So a build does not depend on what release the
// workstation runs, and next to nothing has to be installed on it. Programs run in a mount namespace with this root; the
// host's files are seen at the same paths as outside. The root itself is not written to after it was made.
package toolsroot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sayasystems.com/atlas/build/aptsource"
	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/hosttool"
)

// Release is the Debian release of the tools.
const Release = "13"

// Packages returns the Debian packages in the tools root.
func Packages() []string {
	return []string{
		"acl", "adcli", "arping", "attr", "bind9-dnsutils", "ca-certificates", "chromium-headless-shell", "chrony", "curl", "dosfstools", "e2fsprogs", "fonts-dejavu-core", "gdisk", "iproute2", "isync", "kmod", "krb5-user", "ldap-utils", "libnet-ssleay-perl", "libsasl2-modules", "libsasl2-modules-gssapi-mit", "mariadb-client", "mdadm", "mtools",
		"nbdkit", "nfs-common", "nftables", "nmap", "openssh-client", "ovmf", "postgresql-client", "samba-common-bin", "sshpass", "swaks", "qemu-system-x86", "qemu-utils", "smbclient", "squashfs-tools", "systemd-boot-efi",
		"tcpdump", "user-mode-linux", "xz-utils", "zstd",
	}
}

// Files of packages in a tools root, relative to it.
const (
	OVMFCode    = "usr/share/OVMF/OVMF_CODE_4M.fd"
	OVMFVars    = "usr/share/OVMF/OVMF_VARS_4M.fd"
	Stub        = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
	SystemdBoot = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
)

// Root is a made tools root.
type Root struct {
	Path string // absolute
}

// Ensure returns the tools root, making it first when the cache has none. progress is told what is being done; it may be nil.
func Ensure(ctx context.Context, progress func(string)) (Root, error) {
	if progress == nil {
		progress = func(string) {}
	}
	dir, err := cache.Dir()
	if err != nil {
		return Root{}, err
	}
	r := Root{Path: filepath.Join(dir, "tools-"+cache.Key(Packages()...))}
	if r.made() {
		return r, nil
	}
	unlock, err := cache.Lock(ctx, "tools")
	if err != nil {
		return Root{}, err
	}
	defer unlock()
	if r.made() { // by whoever held the lock
		return r, nil
	}
	if err := hosttool.Need("mmdebstrap", "unshare", "mount", "chroot"); err != nil {
		return Root{}, err
	}
	mirrors, err := aptsource.Host("/")
	if err != nil {
		return Root{}, err
	}
	lines, err := mirrors.Lines(Release, nil)
	if err != nil {
		return Root{}, err
	}
	progress(fmt.Sprintf("making the tools root: Debian %s with %d packages (once, one to two minutes)", Release, len(Packages())))
	tmp := r.Path + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return Root{}, fmt.Errorf("remove unfinished tools root: %w", err)
	}
	args := []string{
		"--variant=essential", "--format=directory", "--include=" + strings.Join(Packages(), ","),
		`--aptopt=APT::Install-Recommends "false"`,
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		// Mount points have to be there before the root is used read-only.
		`--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hosts"; : >"$1/etc/resolv.conf"; : >"$1/etc/hosts"`,
		"trixie", tmp,
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, lines...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return Root{}, fmt.Errorf("make tools root: mmdebstrap: %w\n%s", err, tail(string(out), 25))
	}
	if err := os.WriteFile(filepath.Join(tmp, ".complete"), nil, 0o644); err != nil {
		return Root{}, fmt.Errorf("make tools root: %w", err)
	}
	if err := os.Rename(tmp, r.Path); err != nil {
		return Root{}, fmt.Errorf("make tools root: %w", err)
	}
	return r, nil
}

func (r Root) made() bool {
	_, err := os.Stat(filepath.Join(r.Path, ".complete"))
	return err == nil
}

// File returns the host's path of a file in the root.
func (r Root) File(name string) string { return filepath.Join(r.Path, name) }

// script runs in a new mount namespace: $1 is the root, then come directories to bind (each at its own path) up to "--", then
// the program. It only ever execs, so that the process that was started is the program in the end and a signal to it, or its
// death, is the program's. The directory that holds the root itself is bound first: a recursive bind made later would
// carry the other binds along.
const script = `set -e
root=$1; shift
while [ "$1" != -- ]; do
	if [ -d "$1" ]; then mkdir -p "$root$1"; mount --rbind "$1" "$root$1"; elif [ -f "$1" ]; then mount --bind "$1" "$root$1"; fi
	shift
done
shift
cwd=$PWD
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
export PATH LC_ALL
exec chroot "$root" /usr/bin/env --chdir="$cwd" "$@"`

// Args returns the command line that runs a program in the root, to be put behind a prefix such as `ip netns exec NAME`.
func (r Root) Args(name string, args ...string) []string {
	out := []string{"unshare", "--mount"}
	if os.Geteuid() != 0 {
		out = []string{"unshare", "--user", "--map-root-user", "--mount"}
	}
	out = append(out, "sh", "-c", script, "atlas-tool", r.Path)
	out = append(out, r.binds()...)
	out = append(out, "--", name)
	return append(out, args...)
}

// Command returns a command that runs a program of the root. It sees the host's processes, devices, /sys, /run and /tmp, every
// directory of the host that is not the system's own, and the working directory, all at their usual paths. Its process is
// the program itself: killing it ends the program.
func (r Root) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	a := r.Args(name, args...)
	return exec.CommandContext(ctx, a[0], a[1:]...)
}

// Run runs a program of the root to its end; its output is part of the error.
func (r Root) Run(ctx context.Context, name string, args ...string) error {
	out, err := r.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, tail(string(out), 25))
	}
	return nil
}

// binds lists what of the host is shown inside.
func (r Root) binds() []string {
	own := []string{"bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "lost+found", "sbin", "usr", "var", "dev", "proc", "run", "sys"}
	var first, out []string
	entries, err := os.ReadDir("/")
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil
	}
	for _, e := range entries {
		if !e.IsDir() || slices.Contains(own, e.Name()) {
			continue
		}
		p := "/" + e.Name()
		if strings.HasPrefix(r.Path, p+"/") {
			first = append(first, p)
		} else {
			out = append(out, p)
		}
	}
	for _, p := range []string{"/var/tmp", "/var/cache"} {
		if strings.HasPrefix(r.Path, p+"/") {
			first = append(first, p)
		} else if p == "/var/tmp" {
			out = append(out, p)
		}
	}
	if wd, err := os.Getwd(); err == nil && !slices.Contains(out, wd) { // a checkout may lie in /usr/src or /var/lib
		if top := "/" + strings.SplitN(strings.TrimPrefix(wd, "/"), "/", 2)[0]; !slices.Contains(out, top) && !slices.Contains(first, top) && strings.Count(wd, "/") > 1 {
			out = append(out, wd)
		}
	}
	out = append(first, out...)
	return append(out, "/etc/resolv.conf", "/etc/hosts", "/proc", "/sys", "/dev", "/run")
}

// tail returns the last n lines of s.
func tail(s string, n int) string {
	l := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(l) > n {
		l = l[len(l)-n:]
	}
	return strings.Join(l, "\n")
}
