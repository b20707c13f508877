package habits

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/initapi"
)

// fakeInit answers on a Unix socket as init does, with services that do as they are told.
type fakeInit struct {
	mu     sync.Mutex
	state  initapi.State
	orders []string
	refuse string // error of every order
	sticky bool   // what is started stays starting, then fails
}

func (f *fakeInit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	part := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/v1/state":
		_ = json.NewEncoder(w).Encode(f.state)
		return
	case f.refuse != "":
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": f.refuse})
		return
	case len(part) == 4 && part[1] == "services":
		f.orders = append(f.orders, part[3]+" "+part[2])
		f.obey(part[2], part[3])
	case r.URL.Path == "/v1/power":
		var p initapi.PowerRequest
		_ = json.NewDecoder(r.Body).Decode(&p)
		f.orders = append(f.orders, "power "+p.Action+" ("+p.Reason+")")
	default:
		f.orders = append(f.orders, r.Method+" "+r.URL.Path)
	}
	_ = json.NewEncoder(w).Encode(initapi.Done{OK: true})
}

func (f *fakeInit) obey(name, verb string) {
	svc, at, ok := f.state.Find(name)
	if !ok {
		return
	}
	to := map[string]string{"start": "ready", "restart": "ready", "stop": "stopped"}[verb]
	if f.sticky && to == "ready" {
		to = "failed"
	}
	for i, s := range f.state.Services {
		if s.Name != svc.Name || to == "" {
			continue
		}
		if at < 0 {
			f.state.Services[i].State = to
		}
		for j := range s.Processes {
			if at < 0 || j == at {
				s.Processes[j].State = to
			}
		}
	}
}

// sample is a site with a service of one process, one of two, one that has failed, one that is stopped and one that is off.
func sample() initapi.State {
	since := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	return initapi.State{
		Server: "left", Kind: "namespace", State: initapi.Serving, Ready: true, Started: since,
		Services: []initapi.Service{
			{Name: "apache", Title: "Web server", State: "ready", Enabled: true, Since: since, Processes: []initapi.Process{
				{Name: "apache2", PID: 101, State: "ready", Units: []string{"apache2"}, Reloads: true},
			}},
			{Name: "cron", Title: "Scheduled jobs", State: "ready", Enabled: true, Since: since, Processes: []initapi.Process{
				{Name: "crond", PID: 201, State: "ready", Units: []string{"cron"}},
				{Name: "atd", PID: 202, State: "ready", Units: []string{"atd"}},
			}},
			{Name: "mariadb", Title: "Database", State: "failed", Enabled: true, Error: "mariadbd: exit status 1", Since: since, Processes: []initapi.Process{
				{Name: "mariadbd", State: "failed", Units: []string{"mariadb", "mysql"}},
			}},
			{Name: "postfix", Title: "Mail", State: "stopped", Enabled: false, Since: since, Processes: []initapi.Process{
				{Name: "master", State: "stopped", Units: []string{"postfix"}},
			}},
		},
		Off: []initapi.Service{{Name: "nut", Title: "UPS", State: initapi.Off, Processes: []initapi.Process{{Name: "upsd", State: initapi.Off, Units: []string{"nut-server"}}}}},
	}
}

// rig is a host with a fake init.
type rig struct {
	*Host
	init     *fakeInit
	out, err bytes.Buffer
	killed   []string
	executed []string
	detached [][]string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{init: &fakeInit{state: sample()}}
	dir := t.TempDir()
	sock := filepath.Join(dir, "init.sock")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: r.init, ReadHeaderTimeout: time.Second}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	packDir := filepath.Join(dir, "packs", "apache")
	write(t, filepath.Join(packDir, "pack.yaml"), "name: apache\n")
	r.Host = &Host{
		Init: initapi.NewClient(sock).Patient(), Out: &r.out, Err: &r.err, Root: filepath.Join(dir, "root"),
		Packs: func() ([]pack.Pack, error) { return []pack.Pack{{Name: "apache", Dir: packDir}}, nil },
		Now:   func() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 0, time.Local) },
		Pause: time.Millisecond, Wait: 50 * time.Millisecond,
		Kill: func(pid int, sig syscall.Signal) error {
			if pid == 99999 {
				return syscall.ESRCH
			}
			r.killed = append(r.killed, sig.String())
			return nil
		},
		Exec:   func(_ string, args []string) error { r.executed = args; return nil },
		Detach: func(args []string) error { r.detached = append(r.detached, args); return nil },
	}
	return r
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// do runs a whole command line.
func (r *rig) do(line string) int {
	r.out.Reset()
	r.err.Reset()
	r.init.mu.Lock()
	r.init.orders = nil
	r.init.mu.Unlock()
	f := strings.Fields(line)
	return r.Run(context.Background(), f[0], f[1:])
}
