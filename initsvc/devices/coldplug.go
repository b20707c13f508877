package devices

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/initsvc/modalias"
)

// Preload lists the modules that ATLAS needs although no device asks for them, and that nothing loads when it needs them (as
// mdadm, mount and nft do through the kernel's own calls of modprobe).
func Preload() []string {
	return []string{"md_mod", "raid1", "ext4", "crc32c_generic", "vfat", "nls_cp437", "nls_ascii", "evdev", "button", "efivarfs"}
}

// Unwanted are patterns of drivers that a server has no use for; leaving them out saves seconds of every boot. The firmware's
// frame buffer shows the console.
func Unwanted() []string {
	return []string{
		"kvm*", "ccp", "snd_*", "soundcore", "pcspkr", "psmouse", "mousedev", "joydev",
		"i915", "xe", "amdgpu", "radeon", "nouveau", "bochs", "cirrus*", "qxl", "virtio_gpu", "vmwgfx",
		// Kernel cryptography that is faster, and used by nothing here: services bring their own.
		"aesni_intel", "ghash_clmulni_intel", "polyval_clmulni", "sha1_ssse3", "sha256_ssse3", "sha512_ssse3", "cryptd", "crypto_simd",
	}
}

// Cold loads the modules of all devices that are there, and the preloaded ones; with aliases, only those of the aliases. It
// prints what it loaded. It is what `init modprobe` runs.
func Cold(ctx context.Context, aliases []string, out io.Writer, log *slog.Logger) error {
	dir, err := modalias.Dir("/")
	if err != nil {
		return err
	}
	x, err := modalias.Open(dir)
	if err != nil {
		return fmt.Errorf("load drivers: %w", err)
	}
	p := &modalias.Plug{Index: x, Loader: modalias.Kernel{}, Skip: Unwanted(), Log: log}
	var loaded []string
	if len(aliases) > 0 {
		loaded, err = p.Load(ctx, aliases...)
	} else {
		if loaded, err = p.Load(ctx, Preload()...); err == nil {
			var more []string
			more, err = p.Run(ctx)
			loaded = append(loaded, more...)
		}
	}
	if err != nil {
		return fmt.Errorf("load drivers: %w", err)
	}
	fmt.Fprintln(out, strings.Join(loaded, " "))
	return nil
}

// Hotplug loads the drivers of devices that appear, in batches, by calling helper (`init modprobe`) with their modaliases.
type Hotplug struct {
	Helper []string // command line, to which modaliases are added
	Log    *slog.Logger

	mu      sync.Mutex
	seen    map[string]bool
	pending []string
}

// batch is how long events are gathered: a plugged device makes a dozen.
const batch = 200 * time.Millisecond

// Event notes a device that came.
func (h *Hotplug) Event(e Event) {
	if e.Action != "add" || e.Modalias == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen == nil {
		h.seen = map[string]bool{}
	}
	if len(h.seen) > 10000 { // a device that never gets the same identity twice
		clear(h.seen)
	}
	if h.seen[e.Modalias] {
		return
	}
	h.seen[e.Modalias] = true
	h.pending = append(h.pending, e.Modalias)
}

// Run loads what Event has noted, until ctx ends.
func (h *Hotplug) Run(ctx context.Context) {
	tick := time.NewTicker(batch)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h.mu.Lock()
		todo := h.pending
		h.pending = nil
		h.mu.Unlock()
		if len(todo) == 0 {
			continue
		}
		cctx, cancel := context.WithTimeout(ctx, time.Minute)
		cmd := exec.CommandContext(cctx, h.Helper[0], append(h.Helper[1:], todo...)...)
		out, err := cmd.CombinedOutput()
		cancel()
		text := strings.TrimSpace(string(out))
		switch {
		case err != nil:
			h.Log.Warn("drivers not loaded", "devices", todo, "err", err, "output", text)
		case text != "":
			h.Log.Info("drivers loaded", "modules", text)
		}
	}
}

// ModprobeHelper points the kernel to a program that loads modules on its own behalf (file systems, nftables, network
// families): kmod's where the root has it, else link, which is made to point to init itself.
func ModprobeHelper(initPath, link string) error {
	path := "/sbin/modprobe"
	if _, err := os.Stat(path); err != nil {
		path = link
		_ = os.Remove(link)
		if err := os.Symlink(initPath, link); err != nil {
			return fmt.Errorf("module loader: %w", err)
		}
	}
	if err := os.WriteFile("/proc/sys/kernel/modprobe", []byte(path), 0o644); err != nil {
		return fmt.Errorf("module loader: %w", err)
	}
	return nil
}
