package conf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLDIF(t *testing.T) {
	text := "# CRC32 1\ndn: cn=a\nobjectClass: top\nolcB: one\n  and more\nolcD:: eA==\n\n# next\ndn: cn=b\n\n"
	d := ParseLDIF([]byte(text))
	type value struct {
		Name, Value string
		Entry, At   int
	}
	var got []value
	for _, l := range d.Lines {
		if l.Name != "" {
			got = append(got, value{l.Name, l.Value, l.Entry, l.At})
		}
	}
	want := []value{{"dn", "cn=a", 0, 2}, {"objectClass", "top", 0, 3}, {"olcB", "one and more", 0, 4}, {"olcD", ": eA==", 0, 6}, {"dn", "cn=b", 1, 9}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	d.Insert(0, "olcC", "x")
	d.Insert(1, "olcC", "y")
	d.Insert(0, "olcE", "z")
	for _, l := range d.Lines {
		if l.Name == "olcB" {
			l.Set("two")
		}
	}
	d.Remove(func(l *LDIFLine) bool { return strings.HasPrefix(l.Raw, "# CRC32") })
	const after = "dn: cn=a\nobjectClass: top\nolcB: two\nolcC: x\nolcD:: eA==\nolcE: z\n\n# next\ndn: cn=b\nolcC: y\n\n"
	if diff := cmp.Diff(after, string(d.Bytes())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzLDIF(f *testing.F) {
	f.Add([]byte("dn: a\n b\n\n x\n#\n y"), "olcDbMaxSize")
	f.Add([]byte(" \n:\r\n\r\n"), "a")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		d := ParseLDIF(text)
		if string(d.Bytes()) != string(text) {
			t.Fatalf("%q came back as %q", text, d.Bytes())
		}
		if n := len(d.Lines); n > 0 {
			d.Insert(d.Lines[n-1].Entry, name, "1")
		}
	})
}
