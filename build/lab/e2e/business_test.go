package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// business is the site seen as the company that uses it: people, data in every service, and computers that ask for it.
type business struct {
	*site
	primary string
}

// password of everybody and everything that the tests make.
const password = "Shop-4711-keys"

// item is something that a company keeps in one service. made puts it there by the usual ways and may run again; there looks for it
// with the programs that people use, and says what it misses.
type item struct {
	pack, name  string
	made, there func(b *business) error
}

// root runs a script on the primary as its administrator.
func (b *business) root(script string) (string, error) {
	out, err := b.lab(3*time.Minute, "exec", b.primary, "--", "sh", "-c", script)
	if err != nil {
		return out, fmt.Errorf("on %s: %s: %w\n%s", b.primary, script, err, tail(out, 25))
	}
	return out, nil
}

// pc runs a script on the client computer.
func (b *business) pc(script string) (string, error) {
	out, err := b.lab(2*time.Minute, "client", "--", "sh", "-c", "export LDAPTLS_CACERT=/tmp/site.crt; "+script)
	if err != nil {
		return out, fmt.Errorf("client: %s: %w\n%s", script, err, tail(out, 25))
	}
	return out, nil
}

// kernel runs a script on the client computer that has a kernel of its own.
func (b *business) kernel(script string) (string, error) {
	out, err := b.lab(5*time.Minute, "kernel-client", script)
	if err != nil {
		return out, fmt.Errorf("kernel client: %s: %w\n%s", script, err, tail(out, 25))
	}
	return out, nil
}

// says is an error unless the script on the client prints want.
func (b *business) says(want, script string) error {
	out, err := b.pc(script)
	return contains(script, out, want, err)
}

// has is an error unless the script on the primary prints want.
func (b *business) has(want, script string) error {
	out, err := b.root(script)
	return contains(script, out, want, err)
}

func contains(script, out, want string, err error) error {
	if err == nil && !strings.Contains(out, want) {
		err = fmt.Errorf("%s: want %q in its output:\n%s", script, want, tail(out, 25))
	}
	return err
}

// refused is an error when the script on the client succeeds.
func (b *business) refused(script string) error {
	if out, err := b.pc(script); err == nil {
		return fmt.Errorf("%s: it works, and must be refused\n%s", script, tail(out, 25))
	}
	return nil
}

// first runs them in order up to the first that fails.
func first(steps ...func() error) error {
	for _, s := range steps {
		if err := s(); err != nil {
			return err
		}
	}
	return nil
}

func (b *business) doRoot(script string) func() error {
	return func() error { _, err := b.root(script); return err }
}

func (b *business) doPC(script string) func() error {
	return func() error { _, err := b.pc(script); return err }
}

// within tries until it succeeds.
func within(limit time.Duration, f func() error) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(time.Second) {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// open takes up business on the primary: every pack of the image runs on both servers, and the client has the site's certificate.
func open(t *testing.T, s *site, primary, secondary string) *business {
	t.Helper()
	b := &business{site: s, primary: primary}
	s.enableAll(t, primary, secondary)
	b.trust(t)
	return b
}

// trust gives the site's certificate to the client.
func (b *business) trust(t *testing.T) {
	t.Helper()
	cert := b.exec(t, b.primary, "cat", "/etc/ssl/atlas/site.crt")
	if err := os.MkdirAll(filepath.Join(b.dir, "client", "home"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "client", "site.crt"), []byte(cert), 0o644); err != nil {
		t.Fatal(err)
	}
}

// enableAll switches every pack that the image has on, as enable does.
func (s *site) enableAll(t *testing.T, primary, secondary string) {
	t.Helper()
	names := s.packs(t, primary)
	if slices.Contains(names, "nut") { // without a UPS it says so and fails; dummy-ups plays one
		s.exec(t, primary, "sh", "-c", "grep -q '^\\[' /etc/nut/ups.conf || sh /usr/lib/atlas/packs/nut/sample.sh")
	}
	s.enable(t, primary, secondary, names...)
}

// enable switches services on, while the site runs and on the primary alone, as an administrator does: the secondary follows.
func (s *site) enable(t *testing.T, primary, secondary string, names ...string) {
	t.Helper()
	runs := s.services(t, primary)
	for _, name := range names {
		if find(runs, name).Name == "" {
			t.Logf("%s: %s", primary, strings.TrimSpace(s.exec(t, primary, "atlas", "service", "enable", name)))
		}
	}
	s.runsTheSame(t, primary, secondary)
	s.serving(t, primary, secondary)
}

// runsTheSame waits until the secondary runs what the primary does.
func (s *site) runsTheSame(t *testing.T, primary, secondary string) {
	t.Helper()
	want := s.running(t, primary)
	eventually(t, secondary+" runs what "+primary+" does", 2*time.Minute, func() error {
		if got := s.running(t, secondary); !slices.Equal(got, want) {
			return fmt.Errorf("it runs %v, and is to run %v", got, want)
		}
		return nil
	})
}

func (s *site) running(t *testing.T, server string) []string {
	t.Helper()
	var names []string
	for _, v := range s.services(t, server) {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	return names
}

// packs are those of the image that a site can run together: of two that conflict, the one that is on by default.
func (s *site) packs(t *testing.T, server string) []string {
	t.Helper()
	var names []string
	for name := range strings.FieldsSeq(s.exec(t, server, "ls", "/usr/lib/atlas/packs")) {
		if name != "sendmail" {
			names = append(names, name)
		}
	}
	return names
}

// limited takes more memory, and then starts more processes, than a service may, in its own control group: it ends there and nowhere else.
// The namespace lab has no control groups that count memory.
func (s *site) limited(t *testing.T, server, name, process string) {
	t.Helper()
	pid := find(s.services(t, server), name).process(process).PID
	out := s.exec(t, server, "sh", "-c", fmt.Sprintf(beyond, pid))
	t.Log(out)
	for _, want := range []string{"memory: 137", "oom_kill 1", "Cannot fork"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q", want)
		}
	}
	eventually(t, name+" is ready", time.Minute, func() error {
		list, err := s.tryServices(server)
		if v := find(list, name); err == nil && v.State != "ready" {
			err = fmt.Errorf("it is %s: %s", v.State, v.Error)
		}
		return err
	})
}

const beyond = `cg=/sys/fs/cgroup$(sed -n s/^0:://p /proc/%d/cgroup)
echo "$cg: $(cat $cg/memory.max) bytes, $(cat $cg/pids.max) processes"
sh -c "echo \$\$ >$cg/cgroup.procs; exec tail /dev/zero" >/dev/null 2>&1
echo "memory: $?"
grep '^oom_kill ' $cg/memory.events
sh -c "echo \$\$ >$cg/cgroup.procs; for i in \$(seq 100); do sleep 3 & done; wait" 2>&1 | tail -n 1
cat $cg/pids.events`

// TestEveryService puts data into every service with the programs that people use, finds it there, and finds it again after the disk
// sets were swapped.
func TestEveryService(t *testing.T) {
	s := use(t, "namespace", "vm")
	s.serving(t, "left", "right")
	b := open(t, s, "left", "right")
	t.Cleanup(func() { s.restoreServices(t) })
	items := slices.Concat(webItems(), databaseItems(), fileItems(), peopleItems(), mailItems(), groupwareItems(), domainItems(), systemItems())
	packs := s.packs(t, "left")
	bad := map[string]bool{}
	t.Run("made", func(t *testing.T) {
		for _, i := range items {
			t.Run(i.pack+" "+i.name, func(t *testing.T) {
				if !slices.Contains(packs, i.pack) {
					t.Skipf("this image has no pack %s", i.pack)
				}
				if i.made != nil {
					if err := i.made(b); err != nil {
						bad[i.pack+i.name] = true
						t.Fatalf("making it: %v", err)
					}
				}
				if err := i.there(b); err != nil {
					bad[i.pack+i.name] = true
					t.Fatal(err)
				}
			})
		}
		if s.kind == "vm" && slices.Contains(packs, "sogo") {
			t.Run("limits hold", func(t *testing.T) { s.limited(t, "left", "sogo", "memcached") })
		}
		t.Run("every probe is good", func(t *testing.T) { s.healthy(t, "left", "right") })
	})
	turn := func(primary, secondary string) {
		s.off(t, "left", "right")
		s.must(t, time.Minute, "swap", "left", "right")
		s.on(t, "left", "right")
		s.serving(t, primary, secondary)
		b.primary = primary
		t.Run("on "+primary+" after the swap", func(t *testing.T) {
			for _, i := range items {
				t.Run(i.pack+" "+i.name, func(t *testing.T) {
					if bad[i.pack+i.name] || !slices.Contains(packs, i.pack) {
						t.Skip("it was not there before")
					}
					if err := i.there(b); err != nil {
						t.Error(err)
					}
				})
			}
			t.Run("every probe is good", func(t *testing.T) { s.healthy(t, primary, secondary) })
		})
	}
	turn("right", "left")
	turn("left", "right")
}
