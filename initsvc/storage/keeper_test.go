package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/initsvc/storage/fakemd"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// lab is fake bays without privileges: what would be mounted is a link.
type lab struct {
	t    *testing.T
	dir  string
	keep *keeper
	look *watch
	// cut, when not nil, is asked before every durable step; true = the power goes.
	cut func(step string) bool
}

const size = 2 << 30

func newLab(t *testing.T) *lab {
	l := &lab{t: t, dir: t.TempDir()}
	l.boot()
	return l
}

// boot is a server that has just been switched on: nothing is remembered but what is on the disks.
func (l *lab) boot() {
	l.t.Helper()
	mount := filepath.Join(l.dir, "set")
	_ = os.Remove(mount)
	f, err := fakemd.New(fakemd.Config{
		Bays: filepath.Join(l.dir, "bays"), Arrays: filepath.Join(l.dir, "arrays"), Mount: mount,
		Bind: func(src, dst string) error {
			if err := os.Remove(dst); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return os.Symlink(src, dst)
		},
		Unmount: func(_ context.Context, dst string) error { return os.Remove(dst) },
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.keep = newKeeper(&cutter{hands: f, lab: l}, mount, slog.New(slog.DiscardHandler))
	l.look = &watch{k: l.keep}
}

// cutter lets power go before any durable step. What was done stays done.
type cutter struct {
	hands
	lab *lab
}

type powerCut struct{ step string }

func (c *cutter) at(step string) {
	if c.lab.cut != nil && c.lab.cut(step) {
		panic(powerCut{step})
	}
}

func (c *cutter) WriteLabel(ctx context.Context, d roles.Disk, l roles.Label) error {
	c.at(fmt.Sprintf("label %s generation %d", d.Serial, l.Generation))
	return c.hands.WriteLabel(ctx, d, l)
}

func (c *cutter) Prepare(ctx context.Context, set string, disks ...roles.Disk) error {
	for _, d := range disks {
		c.at("prepare " + d.Serial)
		if err := c.hands.Prepare(ctx, set, d); err != nil {
			return err
		}
	}
	return nil
}

func (c *cutter) Create(ctx context.Context, s array.Spec) error {
	c.at("create")
	return c.hands.Create(ctx, s)
}

func (c *cutter) Assemble(ctx context.Context, s array.Spec) error {
	c.at("assemble")
	return c.hands.Assemble(ctx, s)
}

func (c *cutter) Add(ctx context.Context, d roles.Disk) error {
	c.at("add " + d.Serial)
	return c.hands.Add(ctx, d)
}

// until runs f and tells whether the power was cut in it.
func (l *lab) run(f func()) (cut bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(powerCut); !ok {
				panic(p)
			}
			cut = true
		}
	}()
	f()
	return false
}

func (l *lab) bay(n int) string { return filepath.Join(l.dir, "bays", fmt.Sprint(n)) }

func (l *lab) insert(n int, serial string, bytes uint64) {
	l.t.Helper()
	if err := os.MkdirAll(l.bay(n), 0o755); err != nil {
		l.t.Fatal(err)
	}
	l.put(n, "disk.json", fmt.Sprintf(`{"serial": %q, "model": "FAKE", "size": %d}`, serial, bytes))
}

func (l *lab) put(n int, name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.bay(n), name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) move(from, to string) {
	l.t.Helper()
	if err := os.Rename(from, to); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) drawer(serial string) string { return filepath.Join(l.dir, "drawer-"+serial) }

func (l *lab) spec(disks []roles.Disk) CreateSpec {
	return CreateSpec{Disks: disks, Label: roles.Label{
		Site: "site", SiteName: "Test", Role: roles.Primary, Level: roles.RAID1, Image: "1", Server: "left",
	}}
}

func (l *lab) disks() []roles.Disk {
	l.t.Helper()
	d, err := l.keep.Disks(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return d
}

func (l *lab) create() {
	l.t.Helper()
	l.insert(1, "A", size)
	l.insert(2, "B", size)
	if _, err := l.keep.Create(l.t.Context(), l.spec(l.disks())); err != nil {
		l.t.Fatal(err)
	}
	l.stop()
}

func (l *lab) stop() {
	l.t.Helper()
	if err := l.keep.Stop(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) decide() roles.Decision {
	return roles.Decide(roles.View{Site: "site", Server: "left", Disks: l.disks()})
}

func (l *lab) start() {
	l.t.Helper()
	d := l.decide()
	if d.Action != roles.Start {
		l.t.Fatalf("the server holds: %+v", d.Reasons)
	}
	if err := l.keep.Start(l.t.Context(), d, Writer{Server: "left", Image: "1"}); err != nil {
		l.t.Fatal(err)
	}
}

// watch looks often enough for everything to settle, and returns the IDs of the findings that are left.
func (l *lab) watch() []string {
	l.t.Helper()
	told := map[string]bool{}
	b := newBoard(time.Now, func(f initapi.Finding) { told[f.ID] = true }, func(id string) { delete(told, id) })
	for range 6 {
		b.show(l.look.look(l.t.Context()))
	}
	return slices.Sorted(maps.Keys(told))
}

func (l *lab) members() string {
	l.t.Helper()
	s, err := l.keep.Set(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, m := range s.Members {
		out = append(out, fmt.Sprintf("%s@%d:%s", m.Serial, m.Bay, m.State))
	}
	return strings.Join(out, " ")
}

func (l *lab) expect(members string, findings ...string) {
	l.t.Helper()
	if diff := cmp.Diff(findings, l.watch()); diff != "" {
		l.t.Errorf("findings (-want +got):\n%s", diff)
	}
	if got := l.members(); got != members {
		l.t.Errorf("members = %s; want %s", got, members)
	}
}

func TestLifeOfASet(t *testing.T) {
	l := newLab(t)
	l.create()
	l.boot()
	l.start()
	l.expect("A@1:active B@2:active")

	t.Log("B is pulled: recorded at once")
	l.move(l.bay(2), l.drawer("B"))
	l.expect("A@1:active B@2:missing", "set-degraded")
	for _, d := range l.disks() {
		if got := len(d.Label.Active()); got != 1 {
			t.Errorf("label of %s counts on %d members; want 1", d.Serial, got)
		}
	}

	t.Log("B comes back: it has not run alone, so it is rebuilt")
	l.move(l.drawer("B"), l.bay(2))
	l.expect("A@1:active B@2:active")

	t.Log("A is pulled and replaced by a disk that is too small, then by a blank one")
	l.move(l.bay(1), l.drawer("A"))
	l.insert(1, "S", size/2)
	l.expect("A@1:missing B@2:active", "disk-small-bay-1", "set-degraded")
	l.move(l.bay(1), l.drawer("S"))
	l.insert(1, "C", size)
	l.expect("C@1:active B@2:active")
	l.stop()

	t.Log("the old A comes back beside the whole set, and the set starts by itself")
	l.move(l.drawer("A"), l.bay(3))
	l.boot()
	l.start()
	l.expect("C@1:active B@2:active")
	l.stop()

	t.Log("started degraded, as recorded")
	l.boot()
	l.start()
	l.move(l.bay(3), l.drawer("A"))
	l.move(l.bay(1), l.drawer("C"))
	l.expect("C@1:missing B@2:active", "set-degraded")
	l.stop()
	l.boot()
	l.start()
	l.expect("C@0:missing B@2:active", "set-degraded")
}

func TestDiskThatIsNotBlank(t *testing.T) {
	l := newLab(t)
	l.create()
	l.boot()
	l.start()
	l.move(l.bay(2), l.drawer("B"))
	l.watch()
	l.insert(3, "X", size)
	l.put(3, "content", "an ext4 filesystem")
	l.expect("A@1:active B@2:missing", "disk-not-blank-bay-3", "set-degraded")
	for _, c := range []struct {
		r    initapi.AddRequest
		want string
	}{
		{initapi.AddRequest{Bay: 3}, "not blank"},
		{initapi.AddRequest{Bay: 3, Serial: "Y"}, "its serial is X"},
		{initapi.AddRequest{Bay: 1}, "already in the set"},
		{initapi.AddRequest{Bay: 7}, "there is no disk"},
	} {
		if err := l.keep.Add(t.Context(), c.r); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Add(%+v) = %v; want an error with %q", c.r, err, c.want)
		}
	}
	if err := l.keep.Add(t.Context(), initapi.AddRequest{Bay: 3, Serial: "X"}); err != nil {
		t.Fatal(err)
	}
	l.expect("A@1:active X@3:active")
	if err := l.keep.Add(t.Context(), initapi.AddRequest{Bay: 3, Serial: "X"}); err == nil {
		t.Error("Add of a member succeeded")
	}
}

func TestFailingDiskIsNotTakenBackByItself(t *testing.T) {
	l := newLab(t)
	l.create()
	l.boot()
	l.start()
	l.put(2, "fault", "")
	l.expect("A@1:active B@2:missing", "set-degraded")
	_ = os.Remove(filepath.Join(l.bay(2), "fault"))
	l.expect("A@1:active B@2:missing", "set-degraded")
	l.move(l.bay(2), l.drawer("B"))
	l.watch()
	l.move(l.drawer("B"), l.bay(2))
	l.expect("A@1:active B@2:active")
}

func TestAllMembersLostRecordsNothing(t *testing.T) {
	l := newLab(t)
	l.create()
	l.boot()
	l.start()
	l.move(l.bay(1), l.drawer("A"))
	l.move(l.bay(2), l.drawer("B"))
	if got := l.watch(); !slices.Contains(got, "set-failed") {
		t.Errorf("findings = %v; want set-failed", got)
	}
	l.move(l.drawer("A"), l.bay(1))
	l.move(l.drawer("B"), l.bay(2))
	l.boot()
	l.start()
	l.expect("A@1:active B@2:active")
}

func TestLabelThatCannotBeWrittenEjects(t *testing.T) {
	l := newLab(t)
	l.create()
	l.boot()
	d := l.decide()
	l.put(2, "fault", "")
	if err := l.keep.Start(t.Context(), d, Writer{Server: "left"}); err != nil {
		t.Fatal(err)
	}
	if got, want := l.members(), "A@1:active B@2:missing"; got != want {
		t.Errorf("members = %s; want %s", got, want)
	}
	if got := l.disks()[0].Label.Active(); len(got) != 1 {
		t.Errorf("label counts on %v; want only slot 0", got)
	}
}

func TestLabelsAreRememberedBeforeTheyAreWritten(t *testing.T) {
	l := newLab(t)
	l.create()
	l.boot()
	var told []string
	broken := errors.New("state partition is broken")
	var failing error
	l.keep.Remember(func(label roles.Label, done bool) error {
		written := 0
		for _, d := range l.disks() {
			if d.Label != nil && d.Label.Generation == label.Generation {
				written++
			}
		}
		told = append(told, fmt.Sprintf("generation %d on %d disks, done %t", label.Generation, written, done))
		return failing
	})
	failing = broken
	if err := l.keep.Start(t.Context(), l.decide(), Writer{Server: "left"}); !errors.Is(err, broken) {
		t.Errorf("Start without memory = %v; want %v", err, broken)
	}
	failing, told = nil, nil
	l.start()
	failing = broken
	l.put(2, "fault", "")
	l.expect("A@1:active B@2:missing", "set-degraded")
	want := []string{
		"generation 2 on 0 disks, done false", "generation 2 on 0 disks, done false", "generation 2 on 2 disks, done true",
		"generation 3 on 0 disks, done false", "generation 3 on 1 disks, done true",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// TestPowerCuts plays a story and lets the power go before each of its durable steps in turn. Whatever the moment, the next start
// comes up by itself with a whole set in the end (or, before the set was ever finished, the making can be run again and finds
// only blank disks).
func TestPowerCuts(t *testing.T) {
	steps := 0
	for n := 1; ; n++ {
		l := newLab(t)
		count, at := 0, ""
		l.cut = func(step string) bool {
			if count++; count == n {
				at = step
				return true
			}
			return false
		}
		made := false
		cut := l.run(func() {
			l.insert(1, "A", size)
			l.insert(2, "B", size)
			if _, err := l.keep.Create(t.Context(), l.spec(l.disks())); err != nil {
				t.Fatal(err)
			}
			made = true
			l.stop()
			l.boot()
			l.start()
			l.watch()
			l.move(l.bay(2), l.drawer("B"))
			l.watch()
			l.insert(2, "C", size)
			l.watch()
			l.stop()
			l.boot()
			l.start()
		})
		if !cut {
			steps = n - 1
			break
		}
		l.cut = nil
		l.boot()
		if !made {
			for _, d := range l.disks() {
				if !d.Blank {
					t.Errorf("cut before %q (%d): disk %s is not blank: %+v", at, n, d.Serial, d)
				}
			}
			continue
		}
		// A member that was pulled without a record comes back, as a person told by the console would do.
		if d := l.decide(); d.Action == roles.Hold {
			if _, err := os.Stat(l.drawer("B")); err != nil {
				t.Errorf("cut before %q (%d): holds with all disks there: %+v", at, n, d.Reasons)
				continue
			}
			if _, err := os.Stat(l.bay(2)); err == nil {
				l.move(l.bay(2), l.drawer("C"))
			}
			l.move(l.drawer("B"), l.bay(2))
		}
		l.start()
		l.watch()
		if s, err := l.keep.Set(t.Context()); err != nil || s.Degraded && exists(l.bay(2)) {
			t.Errorf("cut before %q (%d): set is %+v, %v", at, n, s, err)
		}
		l.stop()
	}
	if steps < 15 {
		t.Errorf("only %d steps were cut; the story is longer", steps)
	}
	t.Logf("%d moments", steps)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
