// Package rootfs makes the appliance's Debian root: packages by mmdebstrap, accounts with fixed IDs, nothing in it that differs
// from build to build or that belongs to one server, kernel modules pruned, unpacked and indexed. Then it lays ATLAS's own files over
// it and packs all into one squashfs.
//
//	Spec → Debian (a tree, kept as long as the Spec stays) + Layer (our binaries, packs) → Pack → root.squashfs
//
// Why one squashfs and not a second one for ATLAS's files: zstd at level 6 packs the whole root in ten seconds, so a rebuild after a
// Go-only change stays well under a minute without an overlay at run time, and the root that boots is the simplest there can be.
package rootfs

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/hosttool"
	"sayasystems.com/atlas/build/toolsroot"
	"sayasystems.com/atlas/image/pack"
)

//go:embed hook-essential.sh
var hookEssential []byte

//go:embed hook-customize.sh
var hookCustomize []byte

// Spec is all that goes into a Debian tree.
type Spec struct {
	Release        string         // "13"
	Suite          string         // "trixie"
	Sources        []string       // apt's one-line sources
	Packages       []string       // Debian packages; Base is added
	Accounts       []pack.Account // of the packs
	ModulesExclude []string       // directories below the modules' kernel/ to leave out
	Epoch          int64          // seconds: SOURCE_DATE_EPOCH if given by the caller, else 0
	Leave          []string       `json:",omitempty"` // packages of Base that the release does not have
	Bare           bool           `json:",omitempty"` // no kernel: the tree is for asking its programs, not for an image
}

// Base returns the packages of every image.
func Base() []string {
	return []string{
		"acl", "adduser", "arping", "attr", "ca-certificates", "curl", "dhcpcd-base", "dosfstools", "e2fsprogs", "efibootmgr", "ethtool", "file",
		"gdisk", "iproute2", "iputils-ping", "kmod", "less", "login", "lsof", "mdadm", "mount", "nano", "netbase", "nftables", "openssh-client", "openssl",
		"passwd", "pci.ids", "procps", "psmisc", "smartmontools", "strace", "sudo", "systemd-standalone-sysusers", "systemd-standalone-tmpfiles", "tcpdump",
		"tzdata", "udev", "util-linux", "zstd",
	}
}

// Tree is a finished Debian tree.
type Tree struct {
	Dir    string    // the root directory
	Kernel string    // path of the kernel image
	KVer   string    // kernel release, the name below /lib/modules
	Date   time.Time // of the newest Debian archive index that it was made from
}

// Key identifies the tree that a Spec makes.
func (s Spec) Key() string {
	s.Packages = slices.Compact(slices.Sorted(slices.Values(s.Packages))) // their order makes no difference
	b, err := json.Marshal(s)
	if err != nil {
		return cache.Key(fmt.Sprint(s))
	}
	return cache.Key(string(b), strings.Join(Base(), " "), string(hookEssential), string(hookCustomize), fmt.Sprint(accountFiles(s.Accounts)), "3")
}

// Debian makes the tree of s in dir.
func Debian(ctx context.Context, tools toolsroot.Root, s Spec, dir string) error {
	if os.Geteuid() != 0 {
		return errors.New("making a root needs root rights: run the build as root (in a container will do)")
	}
	if err := hosttool.Need("mmdebstrap"); err != nil {
		return err
	}
	hooks := filepath.Join(dir, "hooks")
	if err := writeHooks(hooks, s); err != nil {
		return err
	}
	root := filepath.Join(dir, "root")
	packages := append(Base(), s.Packages...)
	sort.Strings(packages)
	packages = slices.DeleteFunc(slices.Compact(packages), func(p string) bool { return slices.Contains(s.Leave, p) })
	args := []string{
		"--variant=essential", "--format=directory", "--mode=root", "--include=" + strings.Join(packages, ","),
		`--aptopt=APT::Install-Recommends "false"`,
		"--dpkgopt=force-confold", // the one below, which stops initramfs-tools
		"--essential-hook=" + filepath.Join(hooks, "essential.sh") + ` "$1"`,
		"--customize-hook=" + filepath.Join(hooks, "customize.sh") + ` "$1"`,
	}
	for _, p := range []string{
		"/usr/share/man/*", "/usr/share/info/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/lintian/*", "/usr/share/bug/*",
		"/usr/lib/*/libLLVM*", "/usr/lib/postgresql/*/lib/llvmjit*", "/usr/lib/postgresql/*/lib/bitcode/*",
	} {
		args = append(args, "--dpkgopt=path-exclude="+p)
	}
	args = append(args, "--dpkgopt=path-include=/usr/share/doc/*/copyright") // the licences stay with the software
	args = append(args, s.Suite, root)
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, s.Sources...)...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.Itoa(packageEpoch), "INITRD=No", "DEBIAN_FRONTEND=noninteractive")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mmdebstrap: %w\n%s", err, lastLines(out.String(), 30))
	}
	date, err := archiveDate(filepath.Join(hooks, "dates"))
	if err != nil {
		return err
	}
	if s.Epoch != 0 {
		date = time.Unix(s.Epoch, 0)
	}
	if err := os.WriteFile(filepath.Join(dir, "date"), []byte(date.UTC().Format(time.RFC3339)+"\n"), 0o644); err != nil {
		return fmt.Errorf("note the archive's date: %w", err)
	}
	if !s.Bare {
		if err := kernel(ctx, tools, dir, root, s.ModulesExclude); err != nil {
			return err
		}
	}
	return os.RemoveAll(hooks)
}

// packageEpoch stands for the build's minute in the few places where package scripts write one (the day of a password's last
// change). It is the same in all images, as it tells nothing.
const packageEpoch = 1735689600 // 2025-01-01

// Open returns the tree that Debian made in dir.
func Open(dir string) (Tree, error) {
	t := Tree{Dir: filepath.Join(dir, "root"), Kernel: filepath.Join(dir, "vmlinuz")}
	data, err := os.ReadFile(filepath.Join(dir, "date"))
	if err != nil {
		return t, fmt.Errorf("open root: %w", err)
	}
	if t.Date, err = time.Parse(time.RFC3339, strings.TrimSpace(string(data))); err != nil {
		return t, fmt.Errorf("open root: %w", err)
	}
	if t.KVer, err = kernelVersion(t.Dir); err != nil {
		return t, err
	}
	return t, nil
}

func writeHooks(dir string, s Spec) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write hooks: %w", err)
	}
	files := accountFiles(s.Accounts)
	files["essential.sh"], files["customize.sh"] = string(hookEssential), string(hookCustomize)
	for name, text := range files {
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(name, ".sh") {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			return fmt.Errorf("write hooks: %w", err)
		}
	}
	return nil
}

// archiveDate reads the newest date that the hook found in the archive's indexes.
func archiveDate(file string) (time.Time, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return time.Time{}, fmt.Errorf("date of the archive: %w", err)
	}
	var newest time.Time
	for line := range strings.Lines(string(data)) {
		t, err := time.Parse(time.RFC1123, strings.TrimSpace(line))
		if err != nil {
			if t, err = time.Parse("Mon, _2 Jan 2006 15:04:05 MST", strings.TrimSpace(line)); err != nil {
				continue
			}
		}
		if t.After(newest) {
			newest = t
		}
	}
	if newest.IsZero() {
		return time.Time{}, errors.New("date of the archive: no index says one")
	}
	return newest.UTC(), nil
}

func lastLines(s string, n int) string {
	l := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(l[max(0, len(l)-n):], "\n")
}
