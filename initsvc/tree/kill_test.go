package tree

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/layout"
)

// prepareChild is what the process that is killed does; in its environment are the set, the image and the version.
const prepareChild = "ATLAS_TREE_CHILD"

func TestPrepareChild(t *testing.T) {
	args := strings.Split(os.Getenv(prepareChild), "\n")
	if len(args) != 3 {
		t.Skip("only for TestConvertKilled")
	}
	c := conversion(t)
	fmt.Println("begins")
	if _, err := Prepare(t.Context(), args[0], args[1], args[2], c); err != nil {
		t.Fatal(err)
	}
}

// child begins to prepare the set in a process of its own, and kills it after a while. It tells whether the process was still at it.
func (f *fixture) child(t *testing.T, image, version string, after time.Duration) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestPrepareChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), prepareChild+"="+f.set+"\n"+image+"\n"+version)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with the programs that it runs: a power cut spares none
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "begins\n" {
		t.Fatalf("the process says %q: %v", line, err)
	}
	time.Sleep(after)
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	return cmd.Wait() != nil
}

func number(t *testing.T, name string, usual int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}

// TestConvertKilled: cut off at any moment, on the way to another release or back, the next start ends where one that was not cut off does, and
// what was there before is as it was.
// ATLAS_CUTS says how often, ATLAS_SEED when.
func TestConvertKilled(t *testing.T) {
	usual := 21
	if testing.Short() {
		usual = 4
	}
	cuts, seed := number(t, "ATLAS_CUTS", usual), number(t, "ATLAS_SEED", 1)
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	c := conversion(t)
	there := newFixture(t, "")
	whole := there.copy(t)
	whole.prepare(t, whole.thirteen, "2", c)
	back := whole.copy(t)
	must(t, os.WriteFile(back.etc("2/mine/new"), []byte("made on 13\n"), 0o644))
	wholeBack := back.copy(t)
	wholeBack.prepare(t, wholeBack.twelve, "3", c)
	ways := []struct {
		begin, want *fixture
		image, was  string
		version     string
		takes       time.Duration
	}{
		{begin: there, want: whole, image: there.thirteen, was: "1", version: "2"},
		{begin: back, want: wholeBack, image: back.twelve, was: "2", version: "3"},
	}
	for i, w := range ways { // how long it takes uncut, so that the cuts hit
		f := w.begin.copy(t)
		start := time.Now()
		f.prepare(t, w.image, w.version, c)
		ways[i].takes = time.Since(start)
	}
	hit := 0
	n := 0
	for ; hit < cuts && n < 10*cuts; n++ {
		w := ways[n%2]
		f := w.begin.copy(t)
		before := scan(t, f.set)
		var after time.Duration
		for range 1 + r.IntN(2) { // perhaps the next start is cut off too
			after = time.Duration(r.Float64() * float64(w.takes))
			if f.child(t, w.image, w.version, after) {
				hit++
			}
		}
		link, err := os.Readlink(f.etc(current))
		must(t, err)
		if link != w.was && link != w.version {
			t.Fatalf("cut %d after %v: the generation in use is %q", n, after, link)
		}
		if link == w.version { // nothing makes it anew: it must be whole
			if d := cmp.Diff(scan(t, w.want.etc(w.version)), scan(t, f.etc(w.version))); d != "" {
				t.Fatalf("cut %d after %v: in use, and not whole (-want +got):\n%s", n, after, d)
			}
		}
		f.prepare(t, w.image, w.version, c)
		for _, name := range []string{w.version, w.version + imageSuffix} {
			if d := cmp.Diff(scan(t, w.want.etc(name)), scan(t, f.etc(name))); d != "" {
				t.Errorf("cut %d after %v: %s (-want +got):\n%s", n, after, name, d)
			}
		}
		if got, want := read(t, f.etc(w.version+layout.EtcKept)), read(t, w.want.etc(w.version+layout.EtcKept)); got != want {
			t.Errorf("cut %d after %v: the record is another one", n, after)
		}
		lost := scan(t, f.set)
		for p, was := range before {
			if p != "etc/"+current && lost[p] != was {
				t.Errorf("cut %d after %v: %s was %+v, is %+v", n, after, p, was, lost[p])
			}
		}
		for p := range lost {
			if strings.HasSuffix(p, building) {
				t.Errorf("cut %d after %v: left behind: %s", n, after, p)
			}
		}
	}
	t.Logf("%d starts were cut off on %d ways", hit, n)
	if hit < cuts {
		t.Errorf("only %d starts were cut off, on %d ways: this proves nothing", hit, n)
	}
}

// BenchmarkConvert is the boot's part for a full configuration: to another release of Debian, durable.
func BenchmarkConvert(b *testing.B) {
	begin := newFixture(b, os.Getenv("ATLAS_TREES"))
	c := conversion(b)
	for b.Loop() {
		b.StopTimer()
		f := begin.copy(b)
		b.StartTimer()
		r := f.prepare(b, f.thirteen, "2", c)
		b.ReportMetric(r.Converted.Took.Seconds(), "s-converting")
	}
}
