package apply

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/state"
)

// The test binary is the checkers' helper, and a checker that compares what it sees with a model that it makes from the same seed.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "check-helper" {
		os.Exit(check.Main(nil))
	}
	if len(os.Args) == 4 && os.Args[1] == "compare" {
		seed, err := strconv.ParseUint(os.Args[2], 10, 64)
		if err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
		_, after := random(rand.New(rand.NewPCG(seed, 4)), 10)
		d := after.compare(os.Args[3], "etc", "var")
		fmt.Print(strings.Join(d, "\n"))
		os.Exit(min(len(d), 1))
	}
	os.Exit(m.Run())
}

// Every candidate looks to a checker as the live tree will when it is applied, and applying it is not disturbed by that.
func TestLayers(t *testing.T) {
	dir, err := os.MkdirTemp("/var", "atlas-apply-test-") // what lies below /tmp and /dev is not seen by checkers
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := check.Helper{Command: []string{"/proc/self/exe", "check-helper"}}
	if v := h.Run(t.Context(), []check.Check{{Command: []string{"/bin/true"}}}, nil)[0]; v.Result != check.Pass {
		t.Skip("namespaces are not allowed here: ", v.Output)
	}
	n := 60
	if testing.Short() {
		n = 8
	}
	for _, seed := range seeds(t, n) {
		before, after := random(rand.New(rand.NewPCG(seed, 4)), 10)
		r := newRig(t, dir, before, after)
		if err := os.Chmod(r.root, 0o755); err != nil {
			t.Fatal(err)
		}
		g, err := r.a.Stage(t.Context(), diff(before, after))
		must(t, err)
		c, err := g.Layers()
		must(t, err)
		k := check.Check{Command: []string{"/proc/self/exe", "compare", fmt.Sprint(seed), r.root}, Timeout: time.Minute}
		harm := check.Check{Command: []string{"/bin/sh", "-c", "cd '" + r.root + "' && ! echo harm > etc/passwd && ! rm -rf etc/* var/* && ! echo harm > etc/new"}}
		for _, v := range h.Run(t.Context(), []check.Check{k, harm, k}, &c) {
			// Hard links are not compared in the layers: overlay shows names of one file as several where they come from different layers.
			if v.Result != check.Pass && !onlyLinks(v.Output) {
				t.Fatalf("seed %d: %s: %s", seed, v.Result, v.Output)
			}
		}
		r.is(before, "checked")
		_, err = g.Apply(t.Context())
		must(t, err)
		r.is(after, "applied after it was checked")
		if _, err := os.Lstat(filepath.Join(r.o.Staging, g.name, layersDir)); err == nil {
			t.Fatal("live files have second names in the layers")
		}
		r.a.Close()
	}
}

func onlyLinks(words string) bool {
	for line := range strings.SplitSeq(words, "\n") {
		if !strings.HasSuffix(line, "is not the same file as its other names") {
			return false
		}
	}
	return words != ""
}

// A mount of the image's own below the tree stays to be seen over the candidate.
func TestLayersWithMount(t *testing.T) {
	dir, err := os.MkdirTemp("/var", "atlas-apply-test-")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	before := with(map[string]*node{"etc/ssl/certs/own": file("hidden"), "etc/f": file("old")})
	after := with(map[string]*node{"etc/ssl/certs/own": file("hidden"), "etc/f": file("new")})
	r := newRig(t, dir, before, after)
	at := filepath.Join(r.root, "etc/ssl/certs")
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
		t.Skip(err)
	}
	defer func() { _ = unix.Unmount(at, unix.MNT_DETACH) }()
	must(t, os.WriteFile(filepath.Join(at, "own"), []byte("shown"), 0o644))
	g, err := r.a.Stage(t.Context(), append(diff(before, after), state.Change{Path: "etc/ssl/certs/own"}))
	must(t, err)
	c, err := g.Layers()
	must(t, err)
	for _, d := range []string{dir, r.root} { // for the account that the checker runs as
		must(t, os.Chmod(d, 0o755))
	}
	k := check.Check{User: "nobody", Command: []string{"/bin/sh", "-c", "cd " + r.root + "/etc && test $(cat f ssl/certs/own) = newshown"}}
	v := check.Helper{Command: []string{"/proc/self/exe", "check-helper"}}.Run(t.Context(), []check.Check{k}, &c)[0]
	if v.Result != check.Pass {
		t.Errorf("%s: %s", v.Result, v.Output)
	}
	must(t, g.Discard())
}
