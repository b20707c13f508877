package md_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/initsvc/storage"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

const debugDriver = "/sys/bus/pseudo/drivers/scsi_debug/"

// chassis is fake SCSI disks in bays: every disk has a host adapter of its own, and the adapter's number is the bay's.
type chassis struct {
	t     *testing.T
	store storage.Store
	mu    sync.Mutex
	told  map[string]initapi.Finding
	stop  func()
}

func newChassis(t *testing.T) *chassis {
	inGuest(t)
	// Each test starts with no disks; the store of a removed adapter is freed.
	for hosts() > 0 {
		sysWrite(t, debugDriver+"add_host", "-1")
	}
	c := &chassis{t: t}
	c.boot()
	return c
}

func hosts() int {
	m, _ := filepath.Glob("/sys/class/scsi_host/host*")
	return len(m)
}

func sysWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

// boot forgets all that a server forgets when it is switched off.
func (c *chassis) boot() {
	c.t.Helper()
	c.writeBays()
	s, err := storage.Open(handover.Handover{Kind: handover.Hardware}, slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		c.t.Fatal(err)
	}
	c.store = s
}

func (c *chassis) writeBays() {
	c.t.Helper()
	var b strings.Builder
	b.WriteString("id: 11111111-2222-4333-8444-555555555555\nname: left\nmanagement:\n  address: dhcp\nbays:\n")
	for n := range 12 {
		fmt.Fprintf(&b, "  - number: %d\n    path: /host%d/\n", n+1, n)
	}
	if err := os.MkdirAll(layout.StateDir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(layout.StateDir, "server.yaml"), []byte(b.String()), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// insert puts a new blank disk in, and returns its bay.
func (c *chassis) insert() int {
	c.t.Helper()
	before := map[int]bool{}
	for _, d := range c.disks() {
		before[d.Bay] = true
	}
	sysWrite(c.t, debugDriver+"add_host", "1")
	bay := 0
	c.until("the new disk", func() bool {
		for _, d := range c.disks() {
			if !before[d.Bay] {
				bay = d.Bay
			}
		}
		return bay != 0
	})
	return bay
}

func (c *chassis) disk(bay int) roles.Disk {
	for _, d := range c.disks() {
		if d.Bay == bay {
			return d
		}
	}
	return roles.Disk{}
}

// pull takes a disk out while it runs; its content stays.
func (c *chassis) pull(bay int) {
	c.t.Helper()
	sysWrite(c.t, "/sys/block/"+filepath.Base(c.disk(bay).Dev)+"/device/delete", "1")
}

// back puts a pulled disk back in.
func (c *chassis) back(bay int) {
	c.t.Helper()
	sysWrite(c.t, fmt.Sprintf("/sys/class/scsi_host/host%d/scan", bay-1), "- - -")
	c.until("the disk to be back", func() bool { return c.disk(bay).Dev != "" })
}

func (c *chassis) disks() []roles.Disk {
	c.t.Helper()
	d, err := c.store.Disks(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

func (c *chassis) until(what string, ok func() bool) {
	c.t.Helper()
	for start := time.Now(); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > 90*time.Second {
			s, err := c.store.Set(c.t.Context())
			c.t.Fatalf("waited in vain for %s; set %+v, %v; findings %v", what, s, err, c.findings())
		}
	}
}

func (c *chassis) spec(level roles.Level) storage.CreateSpec {
	return storage.CreateSpec{
		Disks:    c.disks(),
		Label:    roles.Label{Site: "site", SiteName: "Test", Role: roles.Primary, Level: level, Image: "1", Server: "left"},
		Progress: func(s string) { c.t.Log(s) },
		Fill: func(_ context.Context, dir string, _ roles.Label) error {
			return os.WriteFile(filepath.Join(dir, "filled"), []byte("yes"), 0o644)
		},
	}
}

func (c *chassis) create(level roles.Level) roles.Label {
	c.t.Helper()
	start := time.Now()
	l, err := c.store.Create(c.t.Context(), c.spec(level))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Logf("created in %v", time.Since(start))
	return l
}

func (c *chassis) decide() roles.Decision {
	c.t.Helper()
	return roles.Decide(roles.View{Site: "site", Server: "left", Disks: c.disks()})
}

func (c *chassis) start() {
	c.t.Helper()
	d := c.decide()
	if d.Action != roles.Start {
		c.t.Fatalf("the server holds: %+v", d.Reasons)
	}
	begun := time.Now()
	if err := c.store.Start(c.t.Context(), d, storage.Writer{Server: "left", Image: "1"}); err != nil {
		c.t.Fatal(err)
	}
	c.t.Logf("started in %v", time.Since(begun))
	c.watch()
}

func (c *chassis) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	c.told = map[string]initapi.Finding{}
	go func() {
		defer close(done)
		c.store.Watch(ctx, func(f initapi.Finding) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.told[f.ID] = f
		}, func(id string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.told, id)
		})
	}()
	c.stop = func() { cancel(); <-done }
}

func (c *chassis) findings() map[string]initapi.Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.told)
}

func (c *chassis) has(id string) func() bool {
	return func() bool { _, ok := c.findings()[id]; return ok }
}

func (c *chassis) down() {
	c.t.Helper()
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
	if err := c.store.Stop(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.boot()
}

func (c *chassis) whole() bool {
	s, err := c.store.Set(c.t.Context())
	return err == nil && !s.Degraded && s.Rebuild == ""
}

func (c *chassis) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(layout.SetDir, name), []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *chassis) read(name, want string) {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(layout.SetDir, name))
	if err != nil || string(b) != want {
		c.t.Errorf("%s = %q, %v; want %q", name, b, err, want)
	}
}

// same has md compare the members.
func (c *chassis) same() {
	c.t.Helper()
	sysWrite(c.t, "/sys/block/md0/md/sync_action", "check")
	c.until("the check", func() bool {
		b, _ := os.ReadFile("/sys/block/md0/md/sync_action")
		return strings.TrimSpace(string(b)) == "idle"
	})
	b, err := os.ReadFile("/sys/block/md0/md/mismatch_cnt")
	if err != nil || strings.TrimSpace(string(b)) != "0" {
		c.t.Errorf("mismatches = %s, %v; want 0", b, err)
	}
}

func (c *chassis) hash(bay int) string {
	c.t.Helper()
	f, err := os.Open(c.disk(bay).Dev)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		c.t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestGuestLife(t *testing.T) {
	c := newChassis(t)
	a, b := c.insert(), c.insert()
	for _, d := range c.disks() {
		if !d.Blank || d.Serial == "" {
			t.Fatalf("new disk: %+v; want a blank one with a serial", d)
		}
	}
	l := c.create(roles.RAID1)
	c.write("one", "1")
	c.until("the first synchronisation", c.whole)
	c.down()
	for _, d := range c.disks() {
		if d.Label == nil || d.Array != l.Array || d.Label.Generation != 1 || d.Blank || len(d.Missing) > 0 {
			t.Errorf("after creation: %+v", d)
		}
		examined(t, d)
	}

	c.start()
	c.read("filled", "yes")
	c.read("one", "1")
	c.same()

	t.Log("pull a disk under load")
	begun := time.Now()
	c.pull(b)
	c.write("two", "2")
	c.until("the finding", c.has("set-degraded"))
	t.Logf("recorded after %v", time.Since(begun))
	if got := c.disk(a).Label.Active(); len(got) != 1 {
		t.Errorf("label counts on %v; want one member", got)
	}
	if f := c.findings()["set-degraded"]; !strings.Contains(f.What+f.Next, fmt.Sprintf("bay %d", b)) {
		t.Errorf("finding %+v does not name bay %d", f, b)
	}
	c.down()

	t.Log("start degraded as recorded")
	c.start()
	c.read("two", "2")
	c.until("the finding", c.has("set-degraded"))

	t.Log("a new disk is rebuilt by itself")
	begun = time.Now()
	n := c.insert()
	c.until("the rebuild", func() bool { return c.whole() && !c.has("set-degraded")() })
	t.Logf("rebuilt after %v", time.Since(begun))
	if d := c.disk(n); d.Label == nil || len(d.Label.Active()) != 2 || d.Recovering {
		t.Errorf("new member: %+v", d)
	}
	c.same()
	c.down()

	t.Log("the pulled disk comes back: stale, not needed, and not in the way")
	c.back(b)
	c.start()
	c.until("a whole set", c.whole)
	c.read("two", "2")

	t.Log("a member is pulled, and the stale disk takes its place")
	c.pull(a)
	c.write("three", "3")
	c.until("the rebuild", func() bool { return c.has("set-degraded")() })
	c.until("the rebuild", func() bool { return c.whole() && !c.has("set-degraded")() })
	c.same()
	c.down()
	c.start()
	c.read("three", "3")
	c.down()
}

// examined holds what we read from a superblock against mdadm.
func examined(t *testing.T, d roles.Disk) {
	t.Helper()
	out, err := exec.Command("/usr/sbin/mdadm", "--examine", d.Dev+"2").CombinedOutput()
	if err != nil {
		t.Errorf("mdadm --examine: %v: %s", err, out)
	}
	for _, want := range []string{"Array UUID : " + d.Array + "\n", fmt.Sprintf("Events : %d\n", d.Events)} {
		if !strings.Contains(string(out), want) {
			t.Errorf("mdadm --examine has no %q:\n%s", want, out)
		}
	}
}

func TestGuestHalvesAreNotStarted(t *testing.T) {
	c := newChassis(t)
	a, b := c.insert(), c.insert()
	l := c.create(roles.RAID1)
	c.write("both", "1")
	c.until("the first synchronisation", c.whole)
	c.down()
	c.start()
	c.down()

	t.Log("one half alone holds")
	c.pull(b)
	if d := c.decide(); d.Action != roles.Hold {
		t.Fatalf("half of a set starts: %+v", d)
	}

	t.Log("each half is started by an operator's order without the other")
	for _, half := range []struct{ here, gone int }{{a, b}, {b, a}} {
		if c.disk(half.here).Dev == "" {
			c.back(half.here)
		}
		if c.disk(half.gone).Dev != "" {
			c.pull(half.gone)
		}
		me := c.disk(half.here).Label.ID()
		d := roles.Decide(roles.View{Site: "site", Server: "left", Disks: c.disks(), Order: &roles.Order{Set: l.Set, Members: []string{me}}})
		if d.Action != roles.Start {
			t.Fatalf("ordered start holds: %+v", d.Reasons)
		}
		if err := c.store.Start(t.Context(), d, storage.Writer{Server: "left", Image: "1"}); err != nil {
			t.Fatal(err)
		}
		c.write(fmt.Sprintf("only-%d", half.here), "x")
		c.down()
	}

	t.Log("both are back: nothing starts, nothing is written")
	c.back(a)
	before := c.hash(a) + c.hash(b)
	if d := c.decide(); d.Action != roles.Hold {
		t.Fatalf("halves that ran apart start: %+v", d)
	}
	if c.hash(a)+c.hash(b) != before {
		t.Error("holding has written to the disks")
	}

	t.Log("an operator chooses one; the other is set aside until it is added by its serial")
	d := roles.Decide(roles.View{Site: "site", Server: "left", Disks: c.disks(), Order: &roles.Order{Set: l.Set, Members: []string{c.disk(a).Label.ID()}}})
	if d.Action != roles.Start {
		t.Fatalf("ordered start holds: %+v", d.Reasons)
	}
	if err := c.store.Start(t.Context(), d, storage.Writer{Server: "left", Image: "1"}); err != nil {
		t.Fatal(err)
	}
	c.watch()
	c.until("the finding", c.has(fmt.Sprintf("disk-diverged-bay-%d", b)))
	if err := c.store.Add(t.Context(), initapi.AddRequest{Bay: b}); err == nil {
		t.Error("a disk with data of its own was added without its serial")
	}
	if err := c.store.Add(t.Context(), initapi.AddRequest{Bay: b, Serial: c.disk(b).Serial}); err != nil {
		t.Fatal(err)
	}
	c.until("the rebuild", func() bool { return c.whole() && !c.has("set-degraded")() })
	c.same()
	c.read(fmt.Sprintf("only-%d", a), "x")
	c.down()
}

// TestGuestLossThatIsNotRecorded is a power cut after md has dropped a member and before the label says so.
func TestGuestLossThatIsNotRecorded(t *testing.T) {
	c := newChassis(t)
	a, b := c.insert(), c.insert()
	c.create(roles.RAID1)
	c.until("the first synchronisation", c.whole)
	c.down()
	c.start()
	c.stop() // nobody watches
	sysWrite(t, "/sys/block/md0/md/dev-"+filepath.Base(c.disk(b).Dev)+"2/state", "faulty")
	c.write("late", "1")
	c.stop = nil
	c.down()
	if got := c.disk(a).Label.Active(); len(got) != 2 {
		t.Fatalf("label counts on %v; this test is about labels that do not know", got)
	}
	c.start()
	c.read("late", "1")
	c.until("the rebuild", func() bool { return c.whole() && !c.has("set-degraded")() })
	c.same()
	c.down()
}

func TestGuestInterruptedCreationRunsAgain(t *testing.T) {
	c := newChassis(t)
	c.insert()
	c.insert()
	cut := errors.New("cut")
	s := c.spec(roles.RAID1)
	s.Fill = func(context.Context, string, roles.Label) error { return cut }
	if _, err := c.store.Create(t.Context(), s); !errors.Is(err, cut) {
		t.Fatalf("Create = %v; want %v", err, cut)
	}
	c.boot()
	for _, d := range c.disks() {
		if !d.Blank {
			t.Errorf("after an interrupted creation: %+v; want it to count as blank", d)
		}
	}

	t.Log("again, with a stale array running on the disks")
	d := c.disks()
	out, err := exec.Command("/usr/sbin/mdadm", "--assemble", "--run", "/dev/md9", d[0].Dev+"2", d[1].Dev+"2").CombinedOutput()
	if err != nil {
		t.Logf("stale array: %v: %s", err, out)
	}
	c.create(roles.RAID1)
	c.down()
	c.start()
	c.read("filled", "yes")
	c.down()
}

func TestGuestLevels(t *testing.T) {
	for _, v := range []struct {
		level roles.Level
		n     int
	}{{roles.RAID5, 3}, {roles.RAID10, 4}} {
		t.Run(string(v.level), func(t *testing.T) {
			c := newChassis(t)
			var bays []int
			for range v.n {
				bays = append(bays, c.insert())
			}
			c.create(v.level)
			c.until("the first synchronisation", c.whole)
			c.down()
			c.start()
			c.pull(bays[1])
			c.write("degraded", "1")
			c.until("the finding", c.has("set-degraded"))
			c.down()
			c.start()
			c.read("degraded", "1")
			c.back(bays[1])
			c.until("the rebuild", func() bool { return c.whole() && !c.has("set-degraded")() })
			c.same()
			c.down()
		})
	}
}
