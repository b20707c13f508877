package apply

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/sync/state"
)

func packs() []pack.Pack {
	return []pack.Pack{
		{Name: "certificate", Config: []string{"/etc/ssl/atlas"}},
		{Name: "apache", Config: []string{"/etc/apache2", "/etc/php"}, Needs: []string{"certificate"}, Processes: []pack.Process{
			{Name: "fpm", Reload: "USR2"}, {Name: "apache2", ReloadCommand: []string{"/bin/x"}}, {Name: "once", Oneshot: true},
		}},
		{Name: "slapd", Config: []string{"/etc/ldap", "/etc/ssl/atlas"}, Processes: []pack.Process{{Name: "slapd"}}},
		{Name: "odd", Config: []string{"/etc/hosts", "/var/spool/odd"}, Processes: []pack.Process{{Name: "a", Reload: "HUP"}, {Name: "b"}}},
	}
}

func TestAffected(t *testing.T) {
	for _, c := range []struct {
		paths []state.Path
		want  []string
	}{
		{[]state.Path{"etc/passwd", "etc/group", "etc/hosts", "etc/resolv.conf", "etc/shadow"}, nil},
		{[]state.Path{"etc/motd.d/x", "etc/apache2.old/x"}, nil},
		{[]state.Path{"etc/apache2/ports.conf"}, []string{"apache"}},
		{[]state.Path{"etc/apache2"}, []string{"apache"}},
		{[]state.Path{"etc/ssl/atlas/site.crt"}, []string{"certificate", "apache", "slapd"}}, // apache needs it
		{[]state.Path{"etc/atlas/site.yaml", "etc/php"}, []string{"site", "apache"}},
		{[]state.Path{"etc/ldap/ldap.conf", "etc/php/8.2/php.ini", "etc/hosts"}, []string{"apache", "slapd"}},
		{[]state.Path{"var/spool/odd/x"}, []string{"odd"}},
		{[]state.Path{"var/spool/oddity"}, nil},
	} {
		var changes []state.Change
		for _, p := range c.paths {
			changes = append(changes, state.Change{Path: p})
		}
		if d := cmp.Diff(c.want, Affected(packs(), changes)); d != "" {
			t.Errorf("%q (-want +got):\n%s", c.paths, d)
		}
	}
}

type services func(name, verb string) error

func (s services) Do(_ context.Context, name, verb string) error { return s(name, verb) }

func TestTell(t *testing.T) {
	refused := errors.New("slapd: it does not come up")
	s := services(func(name, _ string) error {
		if name == "slapd" {
			return refused
		}
		return nil
	})
	got := Tell(t.Context(), s, packs(), []string{"odd", "slapd", "apache", "certificate"})
	want := []Told{{"certificate", Restart, nil}, {"apache", Reload, nil}, {"slapd", Restart, refused}, {"odd", Restart, nil}}
	if d := cmp.Diff(want, got, cmpopts.EquateErrors()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, told := range Tell(ctx, s, packs(), []string{"apache"}) {
		if !errors.Is(told.Err, context.Canceled) {
			t.Errorf("called off: %+v", told)
		}
	}
}
