package pid1

import (
	"context"
	"os"
	"strings"
	"testing"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/sentry/initapi"
)

// moreServices gives the machine three packs of the site, and its settings this list of services.
func (m *machine) moreServices(list string) {
	m.t.Helper()
	sleep := func(name string) []pack.Process {
		return []pack.Process{{Name: name, Command: []string{"/bin/sleep", "1000"}}}
	}
	m.packs = []pack.Pack{
		{Name: "db", Title: "Database", Processes: sleep("dbd")},
		{Name: "web", Title: "Web server", Needs: []string{"db"}, Processes: sleep("httpd")},
		{Name: "mail", Title: "Mail", Default: pack.Off, Processes: sleep("master"), Conflicts: []string{"othermail"}},
		{Name: "othermail", Title: "Other mail", Default: pack.Off, Processes: sleep("otherd")},
		{Name: "ssh", Scope: "server", Processes: sleep("sshd")},
	}
	m.settings(list)
}

// settings adds lines to the site's settings.
func (m *machine) settings(lines string) {
	m.t.Helper()
	path := m.dirs.Etc + "/atlas/site.yaml"
	data, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(data), "# services\n")
	if err := os.WriteFile(path, []byte(head+"# services\n"+lines), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func running(st initapi.State) string {
	var out []string
	for _, v := range st.Services {
		if v.State == "ready" && v.Name != "sentry" && v.Name != "ssh" {
			out = append(out, v.Name)
		}
	}
	return strings.Join(out, " ")
}

func leftOut(st initapi.State) (out []initapi.Finding) {
	for _, f := range st.Findings {
		if strings.HasPrefix(f.ID, leftOutID) {
			out = append(out, f)
		}
	}
	return out
}

func TestWrongEntryIsLeftOutAtBoot(t *testing.T) {
	m := newMachine(t)
	m.moreServices("services:\n  - db\n  - ghost\n  - web\n")
	s := m.server(handover.Namespace)
	stop := m.run(s)
	defer stop()
	st := m.wait(s, "running the others", func(st initapi.State) bool { return st.State == initapi.Serving && running(st) == "db web" })
	if f := leftOut(st); len(f) != 1 || f[0].ID != "site-services-ghost" || !strings.Contains(f[0].What, "site.yaml:8: services[1]: ghost is no service of this image") {
		t.Errorf("findings %+v; want one with file, line and key", f)
	}
	m.settings("services:\n  - db\n  - web\n")
	if note, err := s.ReloadSite(context.Background()); err != nil || note != "nothing to change" {
		t.Errorf("ReloadSite = %q, %v", note, err)
	}
	if f := leftOut(s.State(context.Background())); len(f) != 0 {
		t.Errorf("still there: %+v", f)
	}
}

func TestSwitchingServices(t *testing.T) {
	m := newMachine(t)
	m.moreServices("services: [db] # ours\n")
	s := m.server(handover.Namespace)
	stop := m.run(s)
	defer stop()
	m.wait(s, "running", func(st initapi.State) bool { return st.State == initapi.Serving && running(st) == "db" })
	ctx := context.Background()
	if st := s.State(ctx); len(st.Off) != 3 || st.Off[0].Name != "web" || st.Off[0].State != initapi.Off {
		t.Errorf("off: %+v", st.Off)
	}
	if _, err := s.Service(ctx, "web", "start"); err == nil || !strings.Contains(err.Error(), "atlas service enable web") {
		t.Errorf("start of one that is off = %v; want to be told how to switch it on", err)
	}
	if note, err := s.Service(ctx, "httpd.service", "enable"); err != nil || !strings.Contains(note, "started web") {
		t.Errorf("enable = %q, %v", note, err)
	}
	m.wait(s, "running web", func(st initapi.State) bool { return running(st) == "db web" })
	if data, _ := os.ReadFile(m.dirs.Etc + "/atlas/site.yaml"); !strings.HasSuffix(string(data), "services: [db, web] # ours\n") {
		t.Errorf("settings:\n%s", data)
	}
	if _, err := s.Service(ctx, "db", "disable"); err == nil || !strings.Contains(err.Error(), "needed by web") {
		t.Errorf("disable of what is needed = %v", err)
	}
	if _, err := s.Service(ctx, "web", "disable"); err != nil {
		t.Error(err)
	}
	if st := s.State(ctx); running(st) != "db" || len(st.Services) != 3 { // with sentry and ssh
		t.Errorf("after disable: %+v", st.Services)
	}
	// A bad file changes nothing.
	m.settings("services: [ghost, mail, othermail]\n")
	if _, err := s.ReloadSite(ctx); err == nil || !strings.Contains(err.Error(), "site.yaml:6: services[0]: ghost is no service") || !strings.Contains(err.Error(), "othermail cannot run beside mail") {
		t.Errorf("ReloadSite = %v; want file, line and key of both mistakes", err)
	}
	if st := s.State(ctx); running(st) != "db" {
		t.Errorf("the bad file changed what runs: %s", running(st))
	}
	m.settings("services: [mail]\n")
	if note, err := s.ReloadSite(ctx); err != nil || note != "stopped db; started mail" {
		t.Errorf("ReloadSite = %q, %v", note, err)
	}
	m.wait(s, "running mail alone", func(st initapi.State) bool { return running(st) == "mail" })
	fences := 0
	for _, did := range m.log() {
		if strings.HasPrefix(did, "fence for") {
			fences++
		}
	}
	if fences != 3 {
		t.Errorf("the fence was loaded %d times; want once for each of three changes", fences)
	}
}

// TestBootShare: what others wait for goes first, and what no client asks comes after the others.
func TestBootShare(t *testing.T) {
	port := []pack.Port{{Port: 80, Proto: "tcp"}}
	all := []pack.Pack{
		{Name: "certificate"},
		{Name: "database", Needs: []string{"certificate"}, Ports: port},
		{Name: "web", Needs: []string{"database"}, Ports: port},
		{Name: "notes", Needs: []string{"web", "database"}},
		{Name: "hardware"},
		{Name: "proxy", Uses: []string{"helper"}, Ports: port},
		{Name: "helper"},
	}
	for i, want := range []int{400, 300, 200, 100, 100, 100, 100} {
		if got := bootShare(all[i], all); got != want {
			t.Errorf("share of %s: %d; want %d", all[i].Name, got, want)
		}
		if got, want := inBackground(all[i], all), i == 3 || i == 4; got != want {
			t.Errorf("%s in the background: %v; want %v", all[i].Name, got, want)
		}
	}
}
