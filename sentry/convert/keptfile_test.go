package convert

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sayasystems.com/atlas/sentry/sync/state"
)

func keptTrial() Kept {
	before, after := tree(map[string]string{"etc/a": "1\n", "etc/same": "s", "etc/\"q": "\xff\x00"}), tree(map[string]string{"etc/b": "2\n", "etc/same": "s"})
	before.Put("etc/\xff", File{Entry: state.Entry{Kind: state.Link, Mode: 0o777, Target: "\xfe", Owner: "root", Group: "root"}})
	before.Put("etc/d", File{Entry: state.Entry{Kind: state.Dir, Mode: 0o2750, Owner: "anna", Group: "#99", Xattrs: map[string]string{"security.capability": "\xff\x01"}}})
	k := Keep(12, 13, before, after)
	k.Gone = []state.Path{"etc/gone"}
	return k
}

func TestKeptText(t *testing.T) {
	k := keptTrial()
	text, err := k.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseKept(text)
	if d := cmp.Diff(k, got, cmpopts.EquateEmpty()); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if again, err := got.Encode(); err != nil || !bytes.Equal(text, again) {
		t.Errorf("written again it is another text: %v", err)
	}
}

// TestKeptDamaged: no byte of a record can be another, and nothing can be missing, without its being noticed.
func TestKeptDamaged(t *testing.T) {
	text, err := keptTrial().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for at := range len(text) - 1 {
		bad := bytes.Clone(text)
		bad[at] ^= 1
		if k, err := ParseKept(bad); err == nil && !cmp.Equal(keptTrial(), k, cmpopts.EquateEmpty()) {
			t.Fatalf("byte %d changed (%q), and the record is taken", at, bad[max(0, at-20):min(at+20, len(bad))])
		}
		if _, err := ParseKept(text[:at]); err == nil {
			t.Fatalf("cut off after %d bytes, and the record is taken", at)
		}
	}
	for text, want := range map[string]string{
		`{"kept":2,"new":1}`: "format 2 is not known", `{}`: "format 0", `{"kept":1,"sum":"x"}`: "checksum", string(text) + "{}": "",
	} {
		if _, err := ParseKept([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

func FuzzParseKept(f *testing.F) {
	text, err := keptTrial().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"kept":1,"from":12,"to":13,"before":{"etc/a":{"kind":"f","data":"eA=="}},"after":{},"same":{},"gone":[],"sum":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParseKept(text)
		if err != nil {
			return
		}
		again, err := k.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseKept(again)
		if d := cmp.Diff(k, got, cmpopts.EquateEmpty()); d != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, d)
		}
	})
}
