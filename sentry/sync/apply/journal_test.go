package apply

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/sync/state"
)

func sample() journal {
	return journal{Version: journalVersion, Steps: []step{
		{Do: put, Path: "etc/\xff\n", Old: 1, New: 2, Mtime: -1, Size: 3, Below: []rawPath{"etc/\xff\n/x"}},
		{Do: remove, Path: "etc/gone", Old: 7},
		{Do: dress, Path: "etc", Old: 3},
	}}
}

func TestJournal(t *testing.T) {
	data, err := sample().encode()
	must(t, err)
	got, err := parseJournal(data)
	must(t, err)
	if d := cmp.Diff(sample(), got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if _, err := parseJournal(bad); err == nil {
			t.Fatalf("byte %d was changed, and the journal is taken", i)
		}
		if _, err := parseJournal(data[:i]); err == nil {
			t.Fatalf("the first %d bytes are taken", i)
		}
	}
	for name, s := range map[string]step{
		"path": {Do: put, Path: "../x", New: 1}, "verb": {Do: "burn", Path: "etc/x", New: 1}, "nothing to put": {Do: put, Path: "etc/x"},
		"below": {Do: remove, Path: "etc/x", Old: 1, Below: []rawPath{"etc/y"}}, "itself": {Do: remove, Path: "etc/x", Old: 1, Below: []rawPath{"etc/x"}},
		"out": {Do: remove, Path: "etc/x", Old: 1, Below: []rawPath{"etc/x/../../y"}},
	} {
		data, err := journal{Steps: []step{s}}.encode()
		must(t, err)
		if _, err := parseJournal(data); err == nil {
			t.Errorf("%s: is taken", name)
		}
	}
}

// The checksum is made to fit: what is fuzzed is what comes after it.
func FuzzJournal(f *testing.F) {
	data, err := sample().encode()
	if err != nil {
		f.Fatal(err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	f.Add(line)
	f.Add([]byte(`{"version":1,"steps":[]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		sum := sha256.Sum256(line)
		j, err := parseJournal(append(append(bytes.Clone(line), '\n'), hex.EncodeToString(sum[:])+"\n"...))
		if err != nil {
			return
		}
		for _, s := range j.Steps {
			if state.Path(s.Path).Check() != nil {
				t.Fatalf("took the path %q", s.Path)
			}
			for _, b := range s.Below {
				if state.Path(b).Check() != nil || !state.Path(b).Under(state.Path(s.Path)) {
					t.Fatalf("took %q below %q", b, s.Path)
				}
			}
		}
		again, err := j.encode()
		if err != nil {
			t.Fatal(err)
		}
		if k, err := parseJournal(again); err != nil || !cmp.Equal(j, k) {
			t.Fatalf("%v: %s", err, cmp.Diff(j, k))
		}
	})
}

func TestDamagedJournal(t *testing.T) {
	before, after := base(), with(map[string]*node{"etc/a": file("x")})
	r := newRig(t, memory(t), before, after)
	_, err := r.apply(diff(before, after))
	must(t, err)
	name := filepath.Join(r.o.Staging, genName(1), journalDone)
	data, err := os.ReadFile(name)
	must(t, err)
	must(t, os.WriteFile(name, data[:len(data)/2], 0o600))
	_, rerr := r.a.Recover()
	_, uerr := r.a.Undo(t.Context())
	for _, err := range []error{rerr, uerr} {
		if j, ok := errors.AsType[*JournalError](err); !ok || j.File != name {
			t.Errorf("got %v; want a *JournalError that names %s", err, name)
		}
	}
	r.is(after, "with a damaged journal")
}
