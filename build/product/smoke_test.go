package product

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/build/toolsroot"
)

// TestBoot starts the image named by ATLAS_IMAGE in QEMU with UEFI firmware, as a USB stick and as a CD, and waits for the installer on
// the serial line.
func TestBoot(t *testing.T) {
	image := os.Getenv("ATLAS_IMAGE")
	if image == "" {
		t.Skip("ATLAS_IMAGE names no image to boot")
	}
	image, err := filepath.Abs(image)
	if err != nil {
		t.Fatal(err)
	}
	tools, err := toolsroot.Ensure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, device := range map[string][]string{
		"usb": {"-device", "qemu-xhci", "-device", "usb-storage,drive=image,removable=on", "-drive", "if=none,id=image,format=raw,readonly=on,file=" + image},
		"cd":  {"-device", "ide-cd,drive=image", "-drive", "if=none,id=image,format=raw,media=cdrom,readonly=on,file=" + image},
	} {
		t.Run(name, func(t *testing.T) { boot(t, tools, device) })
	}
}

// bootTimeout is generous: under software emulation on a busy machine a boot takes minutes.
const bootTimeout = 8 * time.Minute

func boot(t *testing.T, tools toolsroot.Root, device []string) {
	vars := filepath.Join(t.TempDir(), "vars.fd")
	data, err := os.ReadFile(tools.File(toolsroot.OVMFVars))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vars, data, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	// Software emulation always: there are machines whose /dev/kvm opens and then cannot run firmware.
	args := append([]string{
		"-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "1", "-m", "1024", "-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none", "-no-reboot",
		"-drive", "if=pflash,format=raw,readonly=on,file=/" + toolsroot.OVMFCode, "-drive", "if=pflash,format=raw,file=" + vars,
	}, device...)
	cmd := tools.Command(ctx, "qemu-system-x86_64", args...)
	serial := &watcher{want: "Press Enter to install here", seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = serial, serial
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-serial.seen:
		t.Logf("installer after %s", time.Since(start).Round(time.Second))
		cancel()
		t.Logf("machine: %v", <-ended)
	case err := <-ended:
		t.Errorf("the machine ended (%v) before %q appeared:\n%s", err, serial.want, serial.text())
	}
}

// watcher keeps what is written and tells when it contains want.
type watcher struct {
	want string
	seen chan struct{}
	mu   sync.Mutex
	buf  bytes.Buffer
	told bool
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if !w.told && strings.Contains(w.buf.String(), w.want) {
		w.told = true
		close(w.seen)
	}
	return len(p), nil
}

func (w *watcher) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.buf.String()
	return fmt.Sprintf("…%s", s[max(0, len(s)-4000):])
}
