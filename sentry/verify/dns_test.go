package verify

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// zone answers for office.example on UDP and, if asked, on TCP at the same port.
func zone(t *testing.T, tcp bool) string {
	t.Helper()
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		r.Authoritative = true
		switch name := q.Question[0].Name; {
		case name == "_ldap._tcp.office.example." && q.Question[0].Qtype == dns.TypeSRV:
			rr, _ := dns.NewRR(name + " 900 IN SRV 0 100 389 DC.office.example.")
			r.Answer = append(r.Answer, rr)
		case name == "cached.example.":
			r.Authoritative = false
			rr, _ := dns.NewRR(name + " 900 IN A 10.7.0.20")
			r.Answer = append(r.Answer, rr)
		case strings.HasSuffix(name, "office.example."):
		default:
			r.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(r)
	})
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &dns.Server{PacketConn: pc, Handler: h}
	go func() { _ = u.ActivateAndServe() }()
	t.Cleanup(func() { _ = u.Shutdown() })
	if tcp {
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil {
			t.Skipf("the port is used by something else over TCP: %v", err)
		}
		s := &dns.Server{Listener: l, Handler: h}
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return pc.LocalAddr().String()
}

func TestDNS(t *testing.T) {
	const srv = "_ldap._tcp.office.example"
	for _, c := range []struct {
		name, addr string
		params     map[string]string
		want       Status
		evidence   string
	}{
		{"answers", zone(t, true), map[string]string{"name": srv, "type": "SRV", "contains": "dc.office.example"}, Pass, "389 DC.office.example"},
		{"other server", zone(t, true), map[string]string{"name": srv, "type": "SRV", "contains": "dc2.office.example"}, Fail, "none with"},
		{"no such record", zone(t, true), map[string]string{"name": "x.office.example"}, Fail, "0 records"},
		{"no such domain", zone(t, true), map[string]string{"name": "other.example"}, Fail, "NXDOMAIN"},
		{"of somebody else", zone(t, true), map[string]string{"name": "cached.example"}, Fail, "not from its own records"},
		{"UDP only", zone(t, false), map[string]string{"name": srv, "type": "SRV"}, Fail, "over TCP"},
		{"closed", closedPort(t), map[string]string{"name": srv, "type": "SRV"}, Fail, "over UDP"},
		{"no name", zone(t, true), nil, Unknown, "names no record"},
		{"unknown type", zone(t, true), map[string]string{"name": srv, "type": "XYZ"}, Unknown, "unknown type"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		got := DNS(ctx, at(t, c.addr, c.params))
		cancel()
		if got.Status != c.want || !strings.Contains(got.Evidence, c.evidence) || (got.Next == "") != (c.want == Pass) {
			t.Errorf("%s: DNS = %+v; want %s with %q", c.name, got, c.want, c.evidence)
		}
	}
	// What does not answer is told in time.
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	from := time.Now()
	got := DNS(ctx, at(t, pc.LocalAddr().String(), map[string]string{"name": srv}))
	if got.Status != Fail || !strings.Contains(got.Evidence, "no answer in time") || time.Since(from) > 2*time.Second {
		t.Errorf("silent server: DNS = %+v after %s; want no answer in time", got, time.Since(from))
	}
}
