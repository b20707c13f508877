package peers

import (
	"errors"
	"strings"
	"testing"
)

func sampleCode(t testing.TB) Code {
	t.Helper()
	c, err := NewCode([]byte("a certificate"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCodeRoundTrip(t *testing.T) {
	c := sampleCode(t)
	s := c.String()
	if len(s) != codeLen+codeGroups-1 {
		t.Errorf("%q has %d characters; want %d", s, len(s), codeLen+codeGroups-1)
	}
	sloppy := strings.NewReplacer("1", "l", "0", "o", "-", " ").Replace(strings.ToLower(s))
	for _, in := range []string{s, strings.ToLower(s), strings.ReplaceAll(s, "-", ""), " " + s + "\n", sloppy} {
		got, err := ParseCode(in)
		if err != nil || got != c {
			t.Errorf("ParseCode(%q) = %v, %v; want %v", in, got, err, c)
		}
	}
	if !c.Matches([]byte("a certificate")) || c.Matches([]byte("another one")) {
		t.Error("Matches does not tell the certificates apart")
	}
}

// Every single wrong character, every two neighbours exchanged and every two groups exchanged is found.
func TestCodeTypos(t *testing.T) {
	c := sampleCode(t)
	plain := strings.ReplaceAll(c.String(), "-", "")
	for i := range plain {
		for _, r := range crockford {
			if byte(r) == plain[i] {
				continue
			}
			typo := plain[:i] + string(r) + plain[i+1:]
			if _, err := ParseCode(typo); !errors.Is(err, ErrCode) || !strings.Contains(err.Error(), "group "+string(rune('1'+i/groupLen))) {
				t.Fatalf("ParseCode with character %d wrong = %v; want ErrCode naming the group", i, err)
			}
		}
		if i+1 < len(plain) && plain[i] != plain[i+1] && i%groupLen != groupLen-1 {
			typo := plain[:i] + string(plain[i+1]) + string(plain[i]) + plain[i+2:]
			if _, err := ParseCode(typo); !errors.Is(err, ErrCode) {
				t.Errorf("ParseCode with characters %d and %d exchanged = %v; want ErrCode", i, i+1, err)
			}
		}
	}
	groups := strings.Split(c.String(), "-")
	for i := range groups {
		for j := range i {
			g := append([]string(nil), groups...)
			g[i], g[j] = g[j], g[i]
			if _, err := ParseCode(strings.Join(g, "-")); !errors.Is(err, ErrCode) {
				t.Errorf("ParseCode with groups %d and %d exchanged = %v; want ErrCode", i, j, err)
			}
		}
	}
	for _, bad := range []string{"", "UUUUU", plain[:39], plain + "0", strings.Repeat("0", 1<<12), "häuser"} {
		if _, err := ParseCode(bad); !errors.Is(err, ErrCode) {
			t.Errorf("ParseCode(%.20q) = %v; want ErrCode", bad, err)
		}
	}
}

func FuzzParseCode(f *testing.F) {
	f.Add(sampleCode(f).String())
	f.Add("OIL-oil 0000")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCode(s)
		if err != nil {
			if !errors.Is(err, ErrCode) {
				t.Errorf("ParseCode(%q) = %v; want ErrCode", s, err)
			}
			return
		}
		if again, err := ParseCode(c.String()); err != nil || again != c {
			t.Errorf("ParseCode(%q).String() = %q, which reads back as %v, %v", s, c, again, err)
		}
	})
}
