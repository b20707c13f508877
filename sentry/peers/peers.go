// Package peers is how the servers of a site know and reach each other: keys made on each server, certificates pinned at joining,
// mutual TLS with nothing but those pins, and the few messages that cross: attestations, status, pins, joining.
//
// Each server has an Ed25519 key and a self-signed certificate in its state directory (NewKey); peers.yaml there (Book) pins the
// certificates of the others, byte for byte. There is no authority and no expiry: a server whose clock is wrong must still be heard.
// A new server joins with a code (Code) that a person carries from a running server's page or console: it holds a one-time token,
// for the running server, and the fingerprint of the running server's certificate, for the new one. The answering server pins the
// new one durably before it replies, and tells the site's other servers.
//
// Other packages bring messages of their own over the same port, keys and pins: Server.Handle mounts an answer for pinned peers, and
// Client.Line sends requests to one of them over connections that stay open.
//
// It decides nothing about roles and shows nothing; what a server says about itself comes through Local.
package peers

import (
	"errors"

	"sayasystems.com/atlas/image/siteconf"
)

// Protocol is the version of the messages. A server answers requests of its own version only when they join; attestations and
// status may gain fields, which older servers ignore.
const Protocol = 1

// MaxServers is how many servers a site can have.
const MaxServers = 3

// Limits of messages in bytes. Answers are read from pinned peers only, but a peer can be broken.
const (
	maxRequest = 32 << 10
	maxAnswer  = 4 << 20
)

// Paths of the peers' API.
const (
	PathJoin   = "/join"      // POST JoinRequest → JoinReply; no client certificate needed, but the code's token
	PathAttest = "/v1/attest" // GET → roles.Attestation
	PathStatus = "/v1/status" // GET → what the sentry of that server knows about itself
	PathPin    = "/v1/pin"    // POST siteconf.Peer: another server has joined
)

// JoinRequest is what a new server tells about itself. Token is filled by Join.
type JoinRequest struct {
	Protocol int    `json:"protocol"`
	Token    string `json:"token"`
	ID       string `json:"id"`      // UUID
	Name     string `json:"name"`    // "right"
	Address  string `json:"address"` // management address without prefix length
	Cert     string `json:"cert"`    // PEM
}

// JoinReply is all that a new server needs to belong to the site. It holds hashes, the verification password and the site's secret, and is only
// ever sent to the bearer of a join code.
type JoinReply struct {
	Site     string          `json:"site"`
	SiteName string          `json:"site_name"`
	SiteYAML string          `json:"site_yaml"` // text of /etc/atlas/site.yaml
	Admin    string          `json:"admin"`     // bcrypt hash, for peers.yaml
	SSHKeys  []string        `json:"ssh_keys"`
	Peers    []siteconf.Peer `json:"peers"`   // the answering server first, then the others of the site
	Shadow   []Shadow        `json:"shadow"`  // root and admin
	NTHash   string          `json:"nt_hash"` // text of /etc/atlas/admin.nt; "" if the site has none
	Verify   string          `json:"verify"`  // password of the verification account
	Secret   string          `json:"secret"`  // from /etc/atlas/site.secret; "" if the site has none
}

// Shadow is one account's password hash, as in /etc/shadow.
type Shadow struct {
	User string `json:"user"`
	Hash string `json:"hash"`
}

// Errors that callers tell apart.
var (
	ErrCode       = errors.New("the join code is not valid")
	ErrNoSet      = errors.New("this server has no started disk set")
	ErrNotPinned  = errors.New("the other server's certificate is not the pinned one")
	ErrCannotTell = errors.New("this server cannot tell yet what it holds")
)

// Refusal is an answer with an HTTP status other than 200.
type Refusal struct {
	Server string // who refused
	Status int
	Msg    string
}

func (r *Refusal) Error() string { return r.Server + " answers: " + r.Msg }

// Is lets errors.Is(err, ErrCode) and the like see through the network.
func (r *Refusal) Is(target error) bool {
	switch target {
	case ErrCode:
		return r.Status == statusCode
	case ErrNoSet:
		return r.Status == statusNoSet
	case ErrCannotTell:
		return r.Status == statusCannotTell
	}
	return false
}
