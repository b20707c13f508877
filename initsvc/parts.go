package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/install"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/cgroup"
	"sayasystems.com/atlas/initsvc/devices"
	"sayasystems.com/atlas/initsvc/guard"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/initsvc/mounts"
	"sayasystems.com/atlas/initsvc/network"
	"sayasystems.com/atlas/initsvc/pid1"
	"sayasystems.com/atlas/initsvc/storage"
	"sayasystems.com/atlas/initsvc/tree"
	"sayasystems.com/atlas/initsvc/upgrade"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// parts wires the packages of this machine together.
func parts(h handover.Handover, log *slog.Logger) pid1.Parts {
	p := pid1.Parts{
		OpenStore:   storage.Open,
		PrepareTree: treePreparer{log: log, convert: convertTree}.prepare,
		BindTree:    tree.Bind, UnbindTree: tree.Unbind,
		Network: network.BringUp, Keep: network.Keep, Raise: network.Raise, Defend: network.Defend, Lower: network.Lower,
		Fence: network.Fence, Conflicts: network.Conflicts,
		Packs:  func(dir string) ([]pack.Pack, error) { return pack.LoadAll(dir) },
		Expand: pack.Expand,
		Forms: func(release string, log *slog.Logger, progress func(service, text string)) pid1.Forms {
			return upgrade.New(upgrade.Options{
				Set: layout.SetDir, Image: "/", Older: layout.OlderDir, Release: release, Work: layout.Run + "/upgrade", Log: log, Progress: progress,
			})
		},
		Attest:    attest,
		Inventory: takeInventory,
		Hostname:  func(name string) error { return unix.Sethostname([]byte(name)) },
		Mounts:    func(context.Context) error { return mountSystem(h) },
		MountState: func(ctx context.Context) (string, error) {
			note, err := mountState(ctx, h)
			if err == nil {
				if perr := rootPassword(); perr != nil {
					log.Warn("root has no password while no set is mounted", "err", perr)
				}
			}
			return note, err
		},
		Cgroup: findCgroup,
		Slot:   func(context.Context) (bool, error) { return true, nil },
		Bless:  func(context.Context) error { return nil },
	}
	if h.Kind == handover.Hardware {
		p.Coldplug = coldplug
		p.Uevents = func(ctx context.Context, changed func()) { uevents(ctx, log, guard.Guard{Log: log}, changed) }
		p.Slot = func(context.Context) (bool, error) { return slotGood() }
		p.Bless = func(context.Context) error { return bless(h) }
		p.Condemn = func(context.Context) error { return condemn(h) }
	}
	return p
}

// mountSystem makes what the system needs, and keeps the image visible below what is bound over it later.
func mountSystem(h handover.Handover) error {
	var errs []error
	if h.Kind == handover.Hardware {
		errs = append(errs, mounts.Private(), mounts.All(mounts.Early()), mounts.DevLinks("/dev"))
	}
	errs = append(errs, mounts.Bind("/", layout.ImageDir))
	// Where /var/lock leads: apache2ctl and programs with serial lines make their locks there.
	errs = append(errs, os.MkdirAll("/run/lock", 0o755), unix.Chmod("/run/lock", 0o1777))
	return errors.Join(errs...)
}

// rootPassword makes root's password of the installation count while no set, and so no /etc of the site, is mounted: a copy of
// the image's shadow with it is bound over the image's.
func rootPassword() error {
	hash, err := os.ReadFile(filepath.Join(layout.StateDir, install.RootHashFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("root's password: %w", err)
	}
	shadow, err := os.ReadFile("/etc/shadow")
	if err != nil {
		return fmt.Errorf("root's password: %w", err)
	}
	const own = layout.Run + "/shadow"
	if err := os.WriteFile(own, withRootHash(shadow, strings.TrimSpace(string(hash))), 0o600); err != nil {
		return fmt.Errorf("root's password: %w", err)
	}
	if err := unix.Mount(own, "/etc/shadow", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("root's password: %w", err)
	}
	return nil
}

// withRootHash replaces the second field of root's line of a shadow(5) file. A hash that could break the line is not used.
func withRootHash(shadow []byte, hash string) []byte {
	if strings.ContainsAny(hash, ":\n") || hash == "" {
		return shadow
	}
	lines := strings.Split(string(shadow), "\n")
	for i, l := range lines {
		if f := strings.Split(l, ":"); f[0] == "root" && len(f) > 2 {
			f[1] = hash
			lines[i] = strings.Join(f, ":")
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

// findCgroup finds cgroup2 where it is, or mounts it.
func findCgroup() (*cgroup.Tree, error) {
	const own = layout.Run + "/cgroup"
	t, err := cgroup.Find("/sys/fs/cgroup", "/sys/fs/cgroup/unified", own)
	if err == nil {
		return t, nil
	}
	for _, dir := range []string{"/sys/fs/cgroup", own} {
		if mounts.All([]mounts.Mount{{Source: "cgroup2", Target: dir, Type: "cgroup2", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC}}) != nil {
			continue
		}
		if t, err := cgroup.Find(dir); err == nil {
			return t, nil
		}
	}
	return nil, err
}

// coldplug loads the drivers of everything that is there.
func coldplug(ctx context.Context) (string, error) {
	initPath := filepath.Join(layout.LibDir, "init")
	if err := devices.ModprobeHelper(initPath, layout.Run+"/modprobe"); err != nil {
		return "", err
	}
	out, err := helper(ctx, initPath, "modprobe")
	if n := len(strings.Fields(string(out))); err == nil {
		return fmt.Sprintf("%d drivers loaded", n), nil
	}
	return "", err
}

// mountState makes the state partition available.
func mountState(ctx context.Context, h handover.Handover) (string, error) {
	if h.Kind == handover.Namespace {
		if h.State == "" || h.State == layout.StateDir {
			return "", nil
		}
		return "", mounts.Bind(h.State, layout.StateDir)
	}
	if h.State == "" {
		return "", errors.New("the system disk has no state partition")
	}
	for { // disks are found in their own time
		if _, err := os.Stat(h.State); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%s does not appear", h.State)
		case <-time.After(100 * time.Millisecond):
		}
	}
	note := ""
	out, err := helper(ctx, "/usr/sbin/e2fsck", "-p", h.State)
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.ExitCode() <= 2: // mended
		note = "mended: " + strings.TrimSpace(string(out))
	case errors.As(err, &exit):
		return "", fmt.Errorf("check of %s: %w: %s", h.State, err, strings.TrimSpace(string(out)))
	default:
		note = "not checked: " + err.Error()
	}
	return note, mounts.Device(h.State, layout.StateDir, "ext4", unix.MS_NOATIME|unix.MS_NODEV|unix.MS_NOSUID, "errors=remount-ro")
}

// helper runs a program and returns what it printed; an error has its last words.
func helper(ctx context.Context, path string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(errs.String())
		if i := strings.LastIndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
		if text != "" {
			return out.Bytes(), fmt.Errorf("%s: %w: %s", filepath.Base(path), err, text)
		}
		return out.Bytes(), fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return out.Bytes(), nil
}

// attest asks all peers, by sentry's identity.
func attest(ctx context.Context) ([]roles.Attestation, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	out, err := helper(ctx, filepath.Join(layout.LibDir, "sentry"), "attest")
	if err != nil {
		return nil, err
	}
	var atts []roles.Attestation
	if err := json.Unmarshal(out, &atts); err != nil {
		return nil, fmt.Errorf("answers of the other servers: %w", err)
	}
	return atts, nil
}

// takeInventory looks at the hardware in a process of its own.
func takeInventory(ctx context.Context) (pid1.Inventory, error) {
	out, err := helper(ctx, filepath.Join(layout.LibDir, "init"), "inventory")
	if err != nil {
		return pid1.Inventory{}, err
	}
	var raw struct {
		Inventory json.RawMessage   `json:"inventory"`
		Findings  []hwcheck.Finding `json:"findings"`
	}
	if err := json.Unmarshal(out, &raw); err != nil {
		return pid1.Inventory{}, fmt.Errorf("inventory: %w", err)
	}
	inv := pid1.Inventory{Raw: raw.Inventory}
	for _, f := range raw.Findings {
		inv.Findings = append(inv.Findings, initapi.Finding{ID: f.ID, Severity: f.Severity, What: f.What, Next: f.Next})
	}
	return inv, nil
}

// espDir is where the ESP of the system disk is mounted for a moment.
const espDir = layout.Run + "/esp"

// onESP mounts the ESP, calls f and unmounts it.
func onESP(h handover.Handover, flags uintptr, f func(dir string) error) error {
	if h.ESP == "" {
		return errors.New("the system disk's boot partition is not known")
	}
	if err := mounts.Device(h.ESP, espDir, "vfat", flags|unix.MS_NOATIME|unix.MS_NODEV|unix.MS_NOEXEC, "iocharset=ascii"); err != nil {
		return err
	}
	err := f(espDir)
	unix.Sync()
	return errors.Join(err, unix.Unmount(espDir, 0))
}
