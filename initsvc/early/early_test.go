package main

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"sayasystems.com/atlas/image/layout"
)

func efiVar(s string) []byte {
	out := []byte{7, 0, 0, 0}
	for _, c := range utf16.Encode([]rune(s + "\x00")) {
		out = append(out, byte(c), byte(c>>8))
	}
	return out
}

func TestEFIString(t *testing.T) {
	for _, tc := range []struct {
		in   []byte
		want string
	}{
		{efiVar("5c1f0b9e-6a2b-4b52-9b4f-0123456789ab"), "5c1f0b9e-6a2b-4b52-9b4f-0123456789ab"},
		{efiVar(""), ""},
		{nil, ""},
		{[]byte{7, 0, 0}, ""},
		{[]byte{7, 0, 0, 0, 'a', 0, 'b'}, "a"}, // cut in the middle of a letter
	} {
		if got := efiString(tc.in); got != tc.want {
			t.Errorf("efiString(%v) = %q; want %q", tc.in, got, tc.want)
		}
	}
}

func FuzzEFIString(f *testing.F) {
	f.Add(efiVar("x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if s := efiString(in); strings.Contains(s, "\x00") {
			t.Errorf("efiString(%v) = %q", in, s)
		}
	})
}

// When time is up, none and several disks are for a person to sort out, with words that say which.
func TestGiveUp(t *testing.T) {
	for _, tc := range []struct {
		name string
		all  []candidate
		want string
	}{
		{"none", nil, "no disk with a partition atlas-root-a appeared"},
		{"two", []candidate{{disk: "vda"}, {disk: "vdb"}}, "several disks hold atlas-root-a (vda, vdb)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &boot{}
			_, err := b.giveUp(tc.all, layout.RootA, "")
			f, ok := errors.AsType[*failure](err)
			if !ok || f.advice == "" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("giveUp: %v; want a failure with advice and %q", err, tc.want)
			}
		})
	}
}

// A panic in the start-up code becomes a page, not the end of process 1.
func TestProtected(t *testing.T) {
	b := &boot{} // no consoles: run panics as soon as it speaks
	err := b.protectedRun(func() error { panic("oops") })
	if f, ok := errors.AsType[*failure](err); !ok || !strings.Contains(err.Error(), "oops") || f.advice == "" {
		t.Errorf("protected: %v; want a failure that tells of the panic", err)
	}
}

func TestStepKeepsAdvice(t *testing.T) {
	b := &boot{}
	want := &failure{errors.New("x"), "advice"}
	if err := b.step("s", func() error { return want }); !errors.Is(err, want) || err.Error() != "x" {
		t.Errorf("step: %v; want the failure as it is", err)
	}
	if err := b.step("t", func() error { return errors.New("y") }); err == nil || err.Error() != "t: y" {
		t.Errorf("step: %v; want t: y", err)
	}
	if len(b.handover.Steps) != 2 || b.handover.Steps[1].Name != "t" {
		t.Errorf("steps = %+v", b.handover.Steps)
	}
}
