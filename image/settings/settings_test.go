package settings

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Name  string            `yaml:"name"`
	Disks []disk            `yaml:"disks"`
	Env   map[string]string `yaml:"env"`
	Net   struct {
		Address string `yaml:"address"`
	} `yaml:"net"`
}

type disk struct {
	Serial string `yaml:"serial"`
	Erase  bool   `yaml:"erase"`
}

func TestParse(t *testing.T) {
	var got sample
	f, err := Parse("x.yaml", []byte("name: a.b\ndisks:\n  - serial: S1\n    erase: true\nnet:\n  address: 10.0.0.1/24\nenv: {a: b}\n"), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := sample{Name: "a.b", Disks: []disk{{"S1", true}}, Env: map[string]string{"a": "b"}}
	want.Net.Address = "10.0.0.1/24"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Parse (-want +got):\n%s", d)
	}
	if got, want := f.Errorf("disks[0].serial", "no such disk").Error(), "x.yaml:3: disks[0].serial: no such disk"; got != want {
		t.Errorf("Errorf = %q; want %q", got, want)
	}
	if got, want := f.Errorf("net.gateway", "missing").Error(), "x.yaml:5: net.gateway: missing"; got != want {
		t.Errorf("Errorf = %q; want %q", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"unknown", "name: a\nnames: b\n", "x.yaml:2: names: is not a known key; known here: disks, env, name, net"},
		{"unknown nested", "disks:\n  - serial: a\n  - size: 3\n", "x.yaml:3: disks[1].size: is not a known key; known here: erase, serial"},
		{"type", "name: a\ndisks:\n  - serial: a\n    erase: maybe\n", "x.yaml:4: disks[0].erase: expected type 'bool'"},
		{"twice", "name: a\nname: b\n", "x.yaml:2: "},
		{"broken", "name: [a\n", "x.yaml:"},
		{"empty", "", "x.yaml: is empty"},
		{"not a map", "- a\n", "x.yaml:1: must be"},
		{"alias", "name: &x a\nenv: {b: *x}\n", "x.yaml:2: env.b: YAML anchors"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got sample
			_, err := Parse("x.yaml", []byte(tc.in), &got)
			var e *Error
			if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("Parse error = %v; want prefix %q", err, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name: a\ndisks: [{serial: b, erase: true}]\n"))
	f.Add([]byte("env: {? [a] : b}\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var got sample
		_, err := Parse("x.yaml", in, &got)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("Parse error %v is not an *Error", err)
		}
	})
}
