package power

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPressed(t *testing.T) {
	event := func(kind, code uint16, value uint32) []byte {
		b := make([]byte, eventSize)
		binary.NativeEndian.PutUint16(b[16:], kind)
		binary.NativeEndian.PutUint16(b[18:], code)
		binary.NativeEndian.PutUint32(b[20:], value)
		return b
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"down", event(evKey, keyPower, 1), true},
		{"up", event(evKey, keyPower, 0), false},
		{"other key", event(evKey, 30, 1), false},
		{"sync", event(0, 0, 0), false},
		{"short", []byte{1, 2}, false},
	} {
		if got := pressed(tt.b); got != tt.want {
			t.Errorf("%s: pressed = %v; want %v", tt.name, got, tt.want)
		}
	}
}

func TestButtons(t *testing.T) {
	sys := t.TempDir()
	for name, bits := range map[string]string{
		"event0": "10000000000000 0\n",                                            // ACPI power button
		"event1": "402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe\n", // keyboard with a power key
		"event2": "0\n",
		"event3": "ff0000 0 0 0\n",
		"event4": "nonsense zz\n",
	} {
		dir := filepath.Join(sys, "class/input", name, "device/capabilities")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "key"), []byte(bits), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"/dev/input/event0", "/dev/input/event1"}
	if d := cmp.Diff(want, Buttons(sys, "/dev")); d != "" {
		t.Error(d)
	}
}
