package pack

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/siteconf"
)

// imagePacks are those of the image of these tests.
func imagePacks() []Pack {
	return []Pack{
		{Name: "certificate"},
		{Name: "mariadb"},
		{Name: "apache", Needs: []string{"certificate", "ssh"}, Uses: []string{"mariadb"}},
		{Name: "wiki", Needs: []string{"apache"}, Default: Off},
		{Name: "postfix", Needs: []string{"certificate"}},
		{Name: "sendmail", Needs: []string{"certificate"}, Conflicts: []string{"postfix"}, Default: Absent},
		{Name: "addc", Default: Off, Address: AddressOwn, Needs: []string{"certificate"}},
		{Name: "ssh", Scope: ScopeServer},
	}
}

func TestChoose(t *testing.T) {
	own := []siteconf.PackAddress{{Pack: "addc", Address: "10.7.0.20/24"}}
	for _, tt := range []struct {
		name      string
		services  []string
		addresses []siteconf.PackAddress
		want      string
		problems  []string
	}{
		{name: "default", want: "certificate mariadb apache postfix", problems: []string{"services: sendmail cannot run beside postfix; keep one of the two"}},
		{name: "named", services: []string{"postfix", "certificate"}, want: "certificate postfix"},
		{name: "twice", services: []string{"mariadb", "mariadb"}, want: "mariadb"},
		{name: "server's own", services: []string{"ssh", "mariadb"}, want: "mariadb"},
		{name: "all", services: []string{"all"}, addresses: own, want: "certificate mariadb apache wiki postfix addc", problems: []string{"services[0]: sendmail cannot run beside postfix; keep one of the two"}},
		{name: "all and the other", services: []string{"sendmail", "all"}, addresses: own, want: "certificate mariadb apache wiki sendmail addc", problems: []string{"services[1]: postfix cannot run beside sendmail; keep one of the two"}},
		{name: "unknown", services: []string{"mariadb", "ghost"}, want: "mariadb", problems: []string{"services[1]: ghost is no service of this image; take the entry out, or write one of: addc, apache, certificate, mariadb, postfix, sendmail, wiki"}},
		{name: "conflict", services: []string{"certificate", "sendmail", "postfix"}, want: "certificate sendmail", problems: []string{"services[2]: postfix cannot run beside sendmail; keep one of the two"}},
		{name: "no address", services: []string{"certificate", "addc"}, want: "certificate", problems: []string{"services[1]: addc has no address of its own; write under addresses `- {pack: addc, address: 10.7.0.20/24}` with a free address of the office, or take the entry out"}},
		{name: "address", services: []string{"certificate", "addc"}, addresses: own, want: "certificate addc"},
		{name: "needs come along", services: []string{"wiki"}, want: "certificate mariadb apache wiki"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Choose(imagePacks(), siteconf.Site{Services: tt.services, Addresses: tt.addresses})
			if got := strings.Join(c.Names(), " "); got != tt.want {
				t.Errorf("runs %q; want %q", got, tt.want)
			}
			var problems []string
			for _, p := range c.Problems {
				problems = append(problems, p.String())
			}
			if d := cmp.Diff(tt.problems, problems); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestEnable(t *testing.T) {
	for _, tt := range []struct {
		name      string
		services  []string
		addresses []siteconf.PackAddress
		enable    string
		want      string // services then
		added     string
		err       string
	}{
		{name: "with its needs", services: []string{"mariadb"}, enable: "wiki", want: "mariadb wiki apache certificate", added: "wiki apache certificate"},
		{name: "from the default", enable: "wiki", want: "certificate mariadb apache postfix wiki", added: "wiki"},
		{name: "is on", services: []string{"mariadb"}, enable: "mariadb", want: "mariadb"},
		{name: "needs an address", services: []string{"certificate"}, enable: "addc", err: "addc cannot be switched on: addc has no address of its own; write under addresses"},
		{name: "has its address", services: []string{"certificate"}, addresses: []siteconf.PackAddress{{Pack: "addc", Address: "10.7.0.20/24"}}, enable: "addc", want: "certificate addc", added: "addc"},
		{name: "conflict", services: []string{"certificate", "postfix"}, enable: "sendmail", err: "sendmail cannot be switched on: sendmail cannot run beside postfix; keep one of the two"},
		{name: "unknown", services: []string{"mariadb"}, enable: "ghost", err: "there is no service ghost in this image; known: addc, apache"},
		{name: "every server's", services: []string{"mariadb"}, enable: "ssh", err: "ssh runs on every server and cannot be switched on or off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			services, added, err := Enable(imagePacks(), siteconf.Site{Services: tt.services, Addresses: tt.addresses}, tt.enable)
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
					t.Errorf("Enable = %v; want %q", err, tt.err)
				}
				return
			}
			if err != nil || strings.Join(services, " ") != tt.want || strings.Join(added, " ") != tt.added {
				t.Errorf("Enable = %v, %v, %v; want %q, %q", services, added, err, tt.want, tt.added)
			}
		})
	}
}

func TestDisable(t *testing.T) {
	for _, tt := range []struct{ name, services, disable, want, err string }{
		{name: "named", services: "certificate mariadb apache", disable: "apache", want: "certificate mariadb"},
		{name: "from the default", disable: "apache", want: "certificate mariadb postfix"},
		{name: "needed", services: "certificate mariadb apache", disable: "mariadb", err: "mariadb cannot be switched off, since it is needed by apache; first: atlas service disable apache"},
		{name: "the last", services: "mariadb", disable: "mariadb", err: "mariadb is the last service that is on"},
		{name: "was left out", services: "mariadb apache", disable: "apache", want: "mariadb"},
		{name: "unknown", disable: "ghost", err: "there is no service ghost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Disable(imagePacks(), siteconf.Site{Services: strings.Fields(tt.services)}, tt.disable)
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
					t.Errorf("Disable = %v; want %q", err, tt.err)
				}
				return
			}
			if err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("Disable = %v, %v; want %q", got, err, tt.want)
			}
		})
	}
}
