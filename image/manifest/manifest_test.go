package manifest

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMarshalParse(t *testing.T) {
	want := Manifest{
		Format: Format, Name: "atlas", Title: "ATLAS", Version: "1.2.0", Release: "13", Codename: "trixie", Kernel: "6.12", Date: time.Unix(1_700_000_000, 0).UTC(),
		Go: "go1.26", Packs: []string{"apache"}, Packages: map[string]string{"apache2": "2.4"}, Binaries: map[string]string{"init": "00"},
	}
	data, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Parse(Marshal) (-want +got):\n%s", d)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"no JSON": "x", "future": `{"format":2,"version":"1"}`, "path as version": `{"format":1,"version":"../../etc"}`, "no version": `{"format":1}`,
	} {
		if _, err := Parse([]byte(in)); err == nil {
			t.Errorf("%s: Parse succeeded; want an error", name)
		}
	}
}

func sealed(t *testing.T) (string, ed25519.PublicKey) {
	t.Helper()
	dir := t.TempDir()
	for _, n := range []string{"a.img", "b.json"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	key, made, err := LoadOrMakeKey(filepath.Join(dir, "sub", "key.pem"))
	if err != nil || !made {
		t.Fatalf("LoadOrMakeKey = %v, %v", made, err)
	}
	again, made, err := LoadOrMakeKey(filepath.Join(dir, "sub", "key.pem"))
	if err != nil || made || !again.Equal(key) {
		t.Fatalf("LoadOrMakeKey again = %v, %v; want the same key", made, err)
	}
	if st, err := os.Stat(filepath.Join(dir, "sub", "key.pem")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v; want mode 0600", st.Mode(), err)
	}
	if err := Seal(dir, []string{"b.json", "a.img"}, key); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, PublicKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ParsePublic(data)
	if err != nil {
		t.Fatal(err)
	}
	return dir, pub
}

func TestSealVerify(t *testing.T) {
	dir, pub := sealed(t)
	got, err := Verify(dir, pub)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a.img", "b.json"}, got); d != "" {
		t.Errorf("Verify (-want +got):\n%s", d)
	}
}

func TestVerifyRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   string
	}{
		{"changed file", func(t *testing.T, dir string) { put(t, dir, "a.img", "other") }, "a.img"},
		{"missing file", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "a.img")); err != nil {
				t.Fatal(err)
			}
		}, "a.img"},
		{"changed sums", func(t *testing.T, dir string) {
			put(t, dir, SumsFile, strings.Repeat("0", 64)+"  a.img\n")
		}, ErrSignature.Error()},
		{"broken signature", func(t *testing.T, dir string) { put(t, dir, SignatureFile, "!!") }, ErrSignature.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, pub := sealed(t)
			tc.change(t, dir)
			if _, err := Verify(dir, pub); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Verify: %v; want an error with %q", err, tc.want)
			}
		})
	}
	dir, _ := sealed(t)
	_, other := sealed(t)
	if _, err := Verify(dir, other); !errors.Is(err, ErrSignature) {
		t.Errorf("Verify with another key: %v; want ErrSignature", err)
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"format":1,"version":"1.0"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Parse(in)
		if err == nil && strings.ContainsAny(m.Version, "/\\ ") {
			t.Errorf("version %q got through", m.Version)
		}
	})
}

func FuzzParseSums(f *testing.F) {
	f.Add(strings.Repeat("a", 64) + "  x.img\n")
	f.Fuzz(func(t *testing.T, in string) {
		list, err := ParseSums(in)
		for _, s := range list {
			if err != nil || strings.Contains(s.Name, "/") || s.Name == ".." {
				t.Errorf("%+v, %v", s, err)
			}
		}
	})
}
