package peers

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

const (
	idA = "6a1b7b1e-0000-4000-8000-00000000000a"
	idB = "6a1b7b1e-0000-4000-8000-00000000000b"
)

func samplePeer(t testing.TB, id, name, addr string) siteconf.Peer {
	t.Helper()
	dir := t.TempDir()
	if err := NewKey(dir, id); err != nil {
		t.Fatal(err)
	}
	i, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	return siteconf.Peer{ID: id, Name: name, Address: addr, Cert: i.Cert}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sampleRequest(t testing.TB) JoinRequest {
	p := samplePeer(t, idA, "right", "10.7.0.12")
	return JoinRequest{Protocol: Protocol, Token: strings.Repeat("ab", tokenBytes), ID: p.ID, Name: p.Name, Address: p.Address, Cert: p.Cert}
}

func sampleReply(t testing.TB) JoinReply {
	return JoinReply{
		Site: idB, SiteName: "Miller", SiteYAML: "site: x\n", Admin: "$2a$", Peers: []siteconf.Peer{samplePeer(t, idB, "left", "10.7.0.11")},
		Shadow: []Shadow{{"root", "$6$x"}, {"admin", "$6$y"}}, Verify: "secret", SSHKeys: []string{"ssh-ed25519 AAAA x"},
	}
}

func TestDecodeJoinRequest(t *testing.T) {
	good := sampleRequest(t)
	got, err := DecodeJoinRequest(encode(t, good))
	if diff := cmp.Diff(good, got); err != nil || diff != "" {
		t.Fatalf("DecodeJoinRequest: %v\n%s", err, diff)
	}
	for name, change := range map[string]func(*JoinRequest){
		"name with a line break": func(r *JoinRequest) { r.Name = "right\n" },
		"empty name":             func(r *JoinRequest) { r.Name = "" },
		"id":                     func(r *JoinRequest) { r.ID = "right" },
		"address with port":      func(r *JoinRequest) { r.Address = "10.7.0.12:80" },
		"any address":            func(r *JoinRequest) { r.Address = "0.0.0.0" },
		"two certificates":       func(r *JoinRequest) { r.Cert += r.Cert },
		"no certificate":         func(r *JoinRequest) { r.Cert = "" },
		"short token":            func(r *JoinRequest) { r.Token = "ab" },
		"other protocol":         func(r *JoinRequest) { r.Protocol = 2 },
	} {
		r := good
		change(&r)
		if _, err := DecodeJoinRequest(encode(t, r)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, text := range []string{"", "{}", "null", "[]", `{"x":1}`, string(encode(t, good)) + "{}"} {
		if _, err := DecodeJoinRequest([]byte(text)); err == nil {
			t.Errorf("%.30q: accepted", text)
		}
	}
}

func TestDecodeJoinReply(t *testing.T) {
	good := sampleReply(t)
	if _, err := DecodeJoinReply(encode(t, good)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*JoinReply){
		"hash that breaks out of its line": func(r *JoinReply) { r.Shadow = []Shadow{{"root", "x:0:0\nevil"}} },
		"another account":                  func(r *JoinReply) { r.Shadow = []Shadow{{"daemon", "x"}} },
		"key with a line break":            func(r *JoinReply) { r.SSHKeys = []string{"a\nb"} },
		"no peers":                         func(r *JoinReply) { r.Peers = nil },
		"no site":                          func(r *JoinReply) { r.Site = "" },
		"no site.yaml":                     func(r *JoinReply) { r.SiteYAML = "" },
	} {
		r := good
		change(&r)
		if _, err := DecodeJoinReply(encode(t, r)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDecodeAttestation(t *testing.T) {
	if a, err := DecodeAttestation([]byte(`{"server":"x","role":"primary","serving":true,"set":"s","later":1}`)); err != nil || a.Role != roles.Primary {
		t.Errorf("attestation of a later version: %+v, %v; want primary", a, err)
	}
	for _, bad := range []string{`{"role":"king"}`, `{"serving":true}`, `{"holds":7}`, `x`} {
		if _, err := DecodeAttestation([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(encode(f, sampleRequest(f)))
	f.Add(encode(f, sampleReply(f)))
	f.Add(encode(f, samplePeer(f, idA, "right", "10.7.0.12")))
	f.Add(encode(f, roles.Attestation{Server: "x", Role: roles.Primary, Serving: true, Set: "s", Holds: []roles.Holding{{Set: "s", Member: "m"}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := DecodeJoinRequest(data); err == nil {
			if err := CheckPeer(r.Peer()); err != nil {
				t.Errorf("accepted request with %v", err)
			}
			if again, err := DecodeJoinRequest(encode(t, r)); err != nil || again != r {
				t.Errorf("request does not survive encoding: %v", err)
			}
		}
		if p, err := DecodePin(data); err == nil {
			if again, err := DecodePin(encode(t, p)); err != nil || again != p {
				t.Errorf("pin does not survive encoding: %v", err)
			}
		}
		if r, err := DecodeJoinReply(data); err == nil {
			for _, s := range r.Shadow {
				if strings.ContainsAny(s.User+s.Hash, ":\n") {
					t.Errorf("accepted shadow entry %q", s)
				}
			}
		}
		if a, err := DecodeAttestation(data); err == nil && a.Serving && a.Set == "" {
			t.Error("accepted an attestation that serves nothing")
		}
	})
}
