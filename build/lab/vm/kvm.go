package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/build/lab/place"
)

// Probe is what ProbeKVM needs: the tools root, an install image to boot, a scratch directory and where to keep the answer.
type Probe struct {
	Tools, Image, Scratch, Cache string
}

// probeTime is how long the image has to reach its first line under KVM. It needs a few seconds where KVM works.
const probeTime = 30 * time.Second

// ProbeKVM tells whether the image really boots under KVM on this machine, and why not. A usable /dev/kvm is no proof: some
// virtual machines offer one in which a guest hangs. The answer is kept for this host kernel and these tools.
func ProbeKVM(ctx context.Context, p Probe) (works bool, why string) {
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false, "no KVM here (" + err.Error() + "): software emulation"
	}
	kvm.Close()
	answer := struct {
		Works bool   `json:"works"`
		Why   string `json:"why"`
	}{}
	file := filepath.Join(p.Cache, "kvm-"+release()+"-"+filepath.Base(p.Tools)+".json")
	if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &answer) == nil {
		return answer.Works, answer.Why + " (known from before)"
	}
	took, err := tryKVM(ctx, p)
	if ctx.Err() != nil {
		return false, "" // no verdict to keep
	}
	answer.Works, answer.Why = true, fmt.Sprintf("KVM works: the image booted in %.0f s", took.Seconds())
	if err != nil {
		answer.Works, answer.Why = false, "KVM does not work here ("+err.Error()+"): software emulation"
	}
	if data, err := json.Marshal(answer); err == nil {
		_ = os.WriteFile(file, data, 0o644) // not kept: probed again next time
	}
	return answer.Works, answer.Why
}

func tryKVM(ctx context.Context, p Probe) (time.Duration, error) {
	if err := os.MkdirAll(p.Scratch, 0o777); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(p.Scratch, "kvm-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	vars, err := os.ReadFile(filepath.Join(p.Tools, "usr/share/OVMF/OVMF_VARS_4M.fd"))
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, "vars.fd"), vars, 0o644); err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, "image"), nil, 0o644); err != nil {
		return 0, err
	}
	where := place.Place{Root: p.Tools, Binds: []place.Bind{{From: dir, To: inside}, {From: p.Image, To: inside + "/image"}}}
	cmd, err := where.Command("qemu-system-x86_64", "-machine", "q35,smm=off", "-accel", "kvm", "-cpu", "host", "-m", "1024", "-nodefaults", "-display", "none",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd", "-drive", "if=pflash,format=raw,unit=1,file="+inside+"/vars.fd",
		"-drive", "if=none,id=image,format=raw,readonly=on,file="+inside+"/image", "-device", "virtio-blk-pci,drive=image,bootindex=0",
		"-serial", "file:"+inside+"/serial.log")
	if err != nil {
		return 0, err
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	start := time.Now()
	if err := where.Start(cmd); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	defer func() { _ = cmd.Process.Kill(); <-ended }()
	for time.Since(start) < probeTime && ctx.Err() == nil {
		log, err := os.ReadFile(filepath.Join(dir, "serial.log"))
		// The initramfs's first line: the kernel runs, and so does a program on it.
		if err == nil && bytes.Contains(log, []byte("ATLAS ")) && bytes.Contains(log, []byte(" is starting")) {
			return time.Since(start), nil
		}
		select {
		case <-ended:
			return 0, fmt.Errorf("QEMU ended: %s", bytes.TrimSpace(said.Bytes()))
		case <-time.After(200 * time.Millisecond):
		}
	}
	return 0, fmt.Errorf("the image did not boot within %v", probeTime)
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
