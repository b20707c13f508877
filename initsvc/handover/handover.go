// Package handover is what the initramfs tells init about how it was booted: a file boot.json in layout.HandoverDir, written by
// initsvc/early (or by the namespace lab, which has no initramfs) and read once by PID 1.
package handover

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Kinds of machine and modes of boot.
const (
	Hardware  = "hardware"  // disks, firmware and md (a virtual machine counts)
	Namespace = "namespace" // the lab's: directories stand for disks
	Boot      = "boot"
	Install   = "install"
)

// Handover is boot.json.
type Handover struct {
	Kind       string `json:"kind"`
	Mode       string `json:"mode"`
	Slot       string `json:"slot,omitempty"`        // "a" or "b"
	Version    string `json:"version,omitempty"`     // of the image
	SystemDisk string `json:"system_disk,omitempty"` // "/dev/vda"
	ESP        string `json:"esp,omitempty"`         // device of the system disk's ESP
	Root       string `json:"root,omitempty"`        // device of the mounted slot
	State      string `json:"state,omitempty"`       // device of the state partition; namespace: a directory
	Stick      string `json:"stick,omitempty"`       // installing: device of the stick's ESP; namespace: a directory
	// Namespace only: the directory whose entries "1", "2"… are the fake disks in the bays, and the one of the fake arrays.
	FakeBays   string        `json:"fake_bays,omitempty"`
	FakeArrays string        `json:"fake_arrays,omitempty"`
	KernelTime time.Duration `json:"kernel_ns"` // from kernel start to the initramfs's first line
	Steps      []Step        `json:"steps,omitempty"`
}

// Step is one timed step of the initramfs.
type Step struct {
	Name     string        `json:"name"`
	Duration time.Duration `json:"duration_ns"`
}

// File is the name of the handover in its directory.
const File = "boot.json"

// Read reads the handover in dir.
func Read(dir string) (Handover, error) {
	var h Handover
	data, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		return h, fmt.Errorf("read handover: %w", err)
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return h, fmt.Errorf("read handover %s: %w", filepath.Join(dir, File), err)
	}
	return h, nil
}

// Write writes h into dir, which it makes.
func Write(dir string, h Handover) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write handover: %w", err)
	}
	data, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return fmt.Errorf("write handover: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, File), data, 0o644); err != nil {
		return fmt.Errorf("write handover: %w", err)
	}
	return nil
}
