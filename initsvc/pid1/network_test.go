package pid1

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/initsvc/network"
	"sayasystems.com/atlas/sentry/initapi"
)

func finding(st initapi.State, id string) initapi.Finding {
	i := slices.IndexFunc(st.Findings, func(f initapi.Finding) bool { return f.ID == id })
	if i < 0 {
		return initapi.Finding{}
	}
	return st.Findings[i]
}

// A pack that needs an address and has none stays off, with a finding; the others run.
func TestPackWithoutAddress(t *testing.T) {
	m := newMachine(t)
	m.packs = append(m.packs, pack.Pack{Name: "addc", Title: "Domain controller", Scope: pack.ScopeSite, Address: pack.AddressOwn})
	s := m.server(handover.Namespace)
	stop := m.run(s)
	defer stop()
	st := m.wait(s, "serving", func(st initapi.State) bool { return serving(st) && finding(st, "site-services-addc").ID != "" })
	if f := finding(st, "site-services-addc"); !strings.Contains(f.What, "pack: addc") || f.Severity != "critical" {
		t.Errorf("finding %+v; want it to say what to write", f)
	}
	runs := func(name string) bool {
		return slices.ContainsFunc(st.Services, func(v initapi.Service) bool { return v.Name == name })
	}
	if runs("addc") || !runs("web") {
		t.Errorf("services %+v; want the web server and no addc", st.Services)
	}
}

func TestManagementConflictIsToldNotHeld(t *testing.T) {
	m := newMachine(t)
	s := m.server(handover.Namespace)
	s.p.Conflicts = func(ctx context.Context, g network.Management, found func(network.ErrConflict)) error {
		found(network.ErrConflict{Address: g.Address.Addr(), MAC: []byte{0, 0x50, 0x56, 0, 0, 1}})
		<-ctx.Done()
		return nil
	}
	stop := m.run(s)
	defer stop()
	st := m.wait(s, "serving", func(st initapi.State) bool { return serving(st) && finding(st, "management-conflict").ID != "" })
	if f := finding(st, "management-conflict"); !strings.Contains(f.What, "00:50:56:00:00:01 (VMware") || !strings.Contains(f.What, netip.MustParseAddr("127.77.77.77").String()) {
		t.Errorf("finding %+v; want address, MAC and maker", f)
	}
}
