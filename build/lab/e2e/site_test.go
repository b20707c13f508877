package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	serviceAddress = "10.7.0.10"
	emulated       = 5                // limits are for native speed; an emulated processor is slower by this and more
	bootTimeout    = 15 * time.Minute // a first boot makes every database; software emulation on a busy machine; a test fails long after a person would worry
)

// site is one lab with two installed servers, shared by the tests of a run.
type site struct {
	bin, dir, kind string
	admin          string   // administrator's password
	started        []string // packs that the site was started with
	mixed          bool     // right runs another release of Debian
}

var shared struct {
	site *site
	err  error
}

func TestMain(m *testing.M) {
	kind := os.Getenv("ATLAS_LAB_TESTS")
	if kind == "" {
		os.Exit(m.Run())
	}
	shared.site, shared.err = openSite(kind)
	code := m.Run()
	if shared.site != nil && os.Getenv("ATLAS_KEEP_LAB") == "" {
		if out, err := shared.site.lab(5*time.Minute, "down"); err != nil {
			fmt.Fprintf(os.Stderr, "lab down: %v\n%s", err, out)
			code = 1
		}
	}
	os.Exit(code)
}

// openSite builds the builder, installs two servers from the newest image in ATLAS_OUT and boots them.
func openSite(kind string) (*site, error) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		return nil, err
	}
	image, err := newestImage(cmpOr(os.Getenv("ATLAS_OUT"), filepath.Join(root, "out")))
	if err != nil {
		return nil, err
	}
	dir := os.Getenv("ATLAS_LAB_DIR")
	if dir == "" {
		if dir, err = os.MkdirTemp("", "atlas-e2e-"); err != nil {
			return nil, err
		}
	}
	s := &site{bin: filepath.Join(dir, "build"), dir: filepath.Join(dir, "lab"), kind: kind}
	build := exec.Command("go", "build", "-o", s.bin, "./build")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the builder: %w\n%s", err, out)
	}
	began := time.Now()
	up := []string{"up", "--kind", kind, "--servers", "2", "--image", image, "--services", strings.Join(startedWith(kind), ","), "--memory", "2048"}
	if dir := os.Getenv("ATLAS_OTHER"); dir != "" { // a site of two releases: right runs another image
		other, err := newestImage(dir)
		if err != nil {
			return nil, err
		}
		up, s.mixed = append(up, "--other-image", "right="+other), true
	}
	if out, err := s.lab(40*time.Minute, up...); err != nil {
		return s, fmt.Errorf("lab up: %w\n%s", err, tail(out, 80))
	}
	fmt.Printf("e2e: %s site of two servers installed and booted in %.0f s\n", kind, time.Since(began).Seconds())
	st, err := s.status()
	if err != nil {
		return s, err
	}
	s.admin = st.Admin.Password
	s.started = startedWith(kind)
	return s, nil
}

// startedWith are the packs that the shared site is installed with. Emulated servers are booted many times by the tests, so they run few;
// those tests that want more switch more on and off again.
func startedWith(kind string) []string {
	if list := os.Getenv("ATLAS_SERVICES"); list != "" {
		return strings.Split(list, ",")
	}
	if kind == "vm" {
		return []string{"apache", "mariadb", "samba", "notes"}
	}
	// All but what is switched on while the site runs: the groupware, and the UPS, which has to be named first.
	return []string{"addc", "apache", "chrony", "cron", "dovecot", "hardware", "kerberos", "mariadb", "nfs", "notes", "openldap", "postfix", "postgresql", "samba"}
}

func newestImage(dir string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "atlas-*.img"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no atlas-*.img in %s; run `make image` first", dir)
	}
	slices.SortFunc(found, func(a, b string) int {
		sa, _ := os.Stat(a)
		sb, _ := os.Stat(b)
		return sb.ModTime().Compare(sa.ModTime())
	})
	return found[0], nil
}

// use returns the shared site of this kind, or skips the test when the run is for another kind.
func use(t *testing.T, kinds ...string) *site {
	t.Helper()
	kind := os.Getenv("ATLAS_LAB_TESTS")
	if kind == "" {
		t.Skip("needs a lab: run `make test-namespace` or `make test-vm`")
	}
	if !slices.Contains(kinds, kind) {
		t.Skipf("is for the %s lab; this run is for %s", strings.Join(kinds, " and "), kind)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.site
}

// lab runs one lab command and returns what it printed.
func (s *site) lab(timeout time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	all := append([]string{"lab", "--dir", s.dir}, args...)
	cmd := exec.CommandContext(ctx, s.bin, all...)
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("took longer than %v", timeout)
	}
	return out.String(), err
}

func (s *site) must(t *testing.T, timeout time.Duration, args ...string) string {
	t.Helper()
	out, err := s.lab(timeout, args...)
	if err != nil {
		t.Fatalf("lab %s: %v\n%s", strings.Join(args, " "), err, tail(out, 60))
	}
	return out
}

// client runs a command on the office network.
func (s *site) client(t *testing.T, args ...string) string {
	t.Helper()
	return s.must(t, 2*time.Minute, append([]string{"client", "--"}, args...)...)
}

// exec runs a command on a server as its administrator.
func (s *site) exec(t *testing.T, server string, args ...string) string {
	t.Helper()
	return s.must(t, 3*time.Minute, append([]string{"exec", server, "--"}, args...)...)
}

type status struct {
	Admin struct {
		User     string `json:"user"`
		Password string `json:"password"`
	} `json:"admin"`
	Servers []server `json:"servers"`
}

type server struct {
	Name  string `json:"name"`
	Power string `json:"power"`
	Role  string `json:"role"`
	State string `json:"state"`
	Set   string `json:"set"`
}

func (s *site) status() (status, error) {
	var st status
	out, err := s.lab(time.Minute, "status", "--json")
	if err != nil {
		return st, fmt.Errorf("lab status: %w\n%s", err, out)
	}
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		return st, fmt.Errorf("lab status: %w\n%s", err, out)
	}
	return st, nil
}

func (s *site) server(t *testing.T, name string) server {
	t.Helper()
	st, err := s.status()
	if err != nil {
		t.Fatal(err)
	}
	for _, sv := range st.Servers {
		if sv.Name == name {
			return sv
		}
	}
	t.Fatalf("lab status has no server %s", name)
	return server{}
}

// wait waits until a server has a state; on failure the end of its console tells why.
func (s *site) wait(t *testing.T, server, state string) {
	t.Helper()
	out, err := s.lab(bootTimeout+time.Minute, "wait", server, state, "--timeout", bootTimeout.String())
	if err != nil {
		log, _ := s.lab(time.Minute, "console", server, "--log")
		t.Fatalf("%s did not become %s: %v\n%s\nits console:\n%s", server, state, err, out, tail(log, 60))
	}
}

func (s *site) on(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		s.must(t, time.Minute, "power", "on", n)
	}
}

func (s *site) off(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		s.must(t, 5*time.Minute, "power", "off", n)
	}
}

// eventually retries until f returns nil or the time is over.
func eventually(t *testing.T, what string, timeout time.Duration, f func() error) {
	t.Helper()
	if os.Getenv("ATLAS_LAB_TESTS") == "vm" {
		timeout *= emulated
	}
	deadline := time.Now().Add(timeout)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, timeout, err)
		}
		time.Sleep(time.Second)
	}
}

func (s *site) api(t *testing.T, address string, out any) error {
	t.Helper()
	text, err := s.lab(time.Minute, "client", "--", "curl", "-skf", "-m", "20", "-u", "admin:"+s.admin, "https://"+address+":8443/api/v1/status")
	if err != nil {
		return fmt.Errorf("%w: %s", err, tail(text, 5))
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		return fmt.Errorf("status of %s: %w", address, err)
	}
	return nil
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

var errNotYet = errors.New("not yet")

// another makes a second lab of blank servers from the same image; the shared site is off meanwhile.
func (s *site) another(t *testing.T) *site {
	t.Helper()
	for _, name := range []string{"left", "right"} {
		if s.server(t, name).Power == "on" {
			s.off(t, name)
		}
	}
	image, err := newestImage(cmpOr(os.Getenv("ATLAS_OUT"), "../../../out"))
	if err != nil {
		t.Fatal(err)
	}
	o := &site{bin: s.bin, dir: filepath.Join(t.TempDir(), "lab"), kind: s.kind}
	t.Cleanup(func() {
		o.must(t, 5*time.Minute, "down")
		s.on(t, "left", "right")
	})
	o.must(t, 5*time.Minute, "up", "--kind", s.kind, "--blank", "--image", image, "--services", strings.Join(startedWith(s.kind), ","), "--memory", "2048")
	st, err := o.status()
	if err != nil {
		t.Fatal(err)
	}
	o.admin = st.Admin.Password
	return o
}

// consoleLog is what a server's console shows from now on.
type consoleLog struct {
	path string
	from int64
}

func (s *site) consoleLog(t *testing.T, server string) consoleLog {
	t.Helper()
	c := consoleLog{path: filepath.Join(s.dir, "servers", server, "console.log")}
	if st, err := os.Stat(c.path); err == nil && s.server(t, server).Power == "off" {
		c.from = st.Size()
	}
	return c
}

func (c consoleLog) read() string {
	data, err := os.ReadFile(c.path)
	if err != nil || int64(len(data)) < c.from {
		return ""
	}
	return string(data[c.from:])
}

func (c consoleLog) has(text string) error {
	if !strings.Contains(c.read(), text) {
		return fmt.Errorf("%w: %q has not been shown", errNotYet, text)
	}
	return nil
}
