package peers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// DecodeJoinRequest decodes and checks a new server's request. Every field is held to its form, unknown ones are refused: it
// comes from whoever reaches the port.
func DecodeJoinRequest(data []byte) (JoinRequest, error) {
	var r JoinRequest
	if err := strict(data, &r); err != nil {
		return r, fmt.Errorf("join request: %w", err)
	}
	if r.Protocol != Protocol {
		return r, fmt.Errorf("join request: the new server speaks version %d of the protocol, this one version %d; install both from the same image", r.Protocol, Protocol)
	}
	if len(r.Token) != 2*tokenBytes {
		return r, errors.New("join request: token has the wrong length")
	}
	if err := CheckPeer(r.Peer()); err != nil {
		return r, fmt.Errorf("join request: %w", err)
	}
	return r, nil
}

// Peer is the new server as peers.yaml lists it.
func (r JoinRequest) Peer() siteconf.Peer {
	return siteconf.Peer{ID: r.ID, Name: r.Name, Address: r.Address, Cert: r.Cert}
}

// DecodePin decodes and checks a peer that another server has let join.
func DecodePin(data []byte) (siteconf.Peer, error) {
	var p siteconf.Peer
	if err := strict(data, &p); err != nil {
		return p, fmt.Errorf("pin: %w", err)
	}
	if err := CheckPeer(p); err != nil {
		return p, fmt.Errorf("pin: %w", err)
	}
	return p, nil
}

// DecodeJoinReply decodes and checks the answering server's reply.
func DecodeJoinReply(data []byte) (JoinReply, error) {
	var r JoinReply
	if err := strict(data, &r); err != nil {
		return r, fmt.Errorf("join reply: %w", err)
	}
	switch {
	case !uuid.MatchString(r.Site):
		return r, errors.New("join reply: site is not a UUID")
	case r.SiteYAML == "":
		return r, errors.New("join reply: site.yaml is missing")
	case len(r.Peers) == 0 || len(r.Peers) >= MaxServers:
		return r, fmt.Errorf("join reply: it names %d servers", len(r.Peers))
	case strings.ContainsAny(r.Admin+r.Verify+r.Secret, "\r\n\x00"):
		return r, errors.New("join reply: line break in a password hash")
	}
	for _, p := range r.Peers {
		if err := CheckPeer(p); err != nil {
			return r, fmt.Errorf("join reply: %w", err)
		}
	}
	for _, s := range r.Shadow {
		// Both end up in one line of /etc/shadow.
		if (s.User != "root" && s.User != "admin") || strings.ContainsAny(s.Hash, ":\r\n\x00") {
			return r, fmt.Errorf("join reply: shadow entry of %q is not acceptable", s.User)
		}
	}
	for _, k := range r.SSHKeys {
		if strings.ContainsAny(k, "\r\n\x00") {
			return r, errors.New("join reply: line break in an ssh key")
		}
	}
	return r, nil
}

// DecodeAttestation decodes a peer's attestation. Fields of later versions are ignored; impossible values are refused, since
// roles.Decide builds on them.
func DecodeAttestation(data []byte) (roles.Attestation, error) {
	var a roles.Attestation
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("attestation: %w", err)
	}
	switch {
	case a.Role != "" && a.Role != roles.Primary && a.Role != roles.Secondary:
		return a, fmt.Errorf("attestation: role %q is unknown", a.Role)
	case a.Serving && (a.Role == "" || a.Set == ""):
		return a, errors.New("attestation: it serves without a role and a set")
	case len(a.Holds) > 1024:
		return a, fmt.Errorf("attestation: it holds %d disks", len(a.Holds))
	}
	return a, nil
}

// CheckPeer tells what is wrong with p.
func CheckPeer(p siteconf.Peer) error {
	switch {
	case !uuid.MatchString(p.ID):
		return errors.New("server id is not a UUID")
	case !siteconf.ValidName(p.Name):
		return errors.New("server name must be lower-case letters, digits and hyphens, at most 32")
	}
	a, err := netip.ParseAddr(p.Address)
	if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		return fmt.Errorf("server %s: management address %q is not a host's address", p.Name, p.Address)
	}
	if _, err := ParseCert(p.Cert); err != nil {
		return fmt.Errorf("server %s: %w", p.Name, err)
	}
	return nil
}

// strict decodes exactly one JSON value without unknown keys.
func strict(data []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return fmt.Errorf("not as expected: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the message")
	}
	return nil
}
