package peers

import (
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sayasystems.com/atlas/image/siteconf"
)

// OfferFile keeps the join code on offer in the state directory.
const OfferFile = "join.json"

// Validity of a join code.
const Validity = 24 * time.Hour

// Offer is a join code that this server accepts. A server that used it may use it again under the same name until it has been
// heard over mutual TLS: an interrupted installation can be repeated with the same code, and once installed the code is dead.
type Offer struct {
	Code    string    `json:"code"`
	Expires time.Time `json:"expires"`
	UsedBy  string    `json:"used_by,omitempty"` // server name
	Cert    string    `json:"cert,omitempty"`    // PEM of the server that used it
}

// Offers makes, checks and ends join codes in a state directory. Safe for concurrent use in one process; the installer makes one
// before any daemon runs.
type Offers struct {
	dir string
	now func() time.Time
	mu  sync.Mutex
}

// NewOffers keeps the offer in dir, which also holds the server's certificate. now is the clock, time.Now if nil.
func NewOffers(dir string, now func() time.Time) *Offers {
	if now == nil {
		now = time.Now
	}
	return &Offers{dir: dir, now: now}
}

// Show gives the code on offer, and makes one if there is none that is valid and unused, or if renew is set.
func (o *Offers) Show(renew bool) (Offer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if off, ok := o.current(); ok && !renew {
		return off, nil
	}
	cert, err := readCert(filepath.Join(o.dir, siteconf.CertFile))
	if err != nil {
		return Offer{}, fmt.Errorf("make join code: %w", err)
	}
	code, err := NewCode(cert.Raw)
	if err != nil {
		return Offer{}, err
	}
	off := Offer{Code: code.String(), Expires: o.now().Add(Validity).UTC().Truncate(time.Second)}
	return off, o.save(off)
}

// Current gives the code on offer without making one.
func (o *Offers) Current() (Offer, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.current()
}

// Check tells whether token, in hex, is the one on offer to a server called name.
func (o *Offers) Check(token, name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	off, ok := o.current()
	if !ok {
		return fmt.Errorf("%w: it was used already, or is older than 24 hours; have a new one shown on this server's page or with `atlas join-code`", ErrCode)
	}
	code, err := ParseCode(off.Code)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(code.Token[:])), []byte(token)) != 1 {
		return fmt.Errorf("%w: it is not the one that this server shows now", ErrCode)
	}
	if off.UsedBy != "" && off.UsedBy != name {
		return fmt.Errorf("%w: server %s has used it; have a new one shown", ErrCode, off.UsedBy)
	}
	return nil
}

// Use records which server the code let in.
func (o *Offers) Use(p siteconf.Peer) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	off, ok := o.current()
	if !ok {
		return nil
	}
	off.UsedBy, off.Cert = p.Name, p.Cert
	return o.save(off)
}

// Heard ends the offer when p, now heard over mutual TLS, is the server that used it.
func (o *Offers) Heard(p siteconf.Peer) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	off, ok := o.current()
	if !ok || off.UsedBy != p.Name || off.Cert != p.Cert {
		return nil
	}
	if err := os.Remove(filepath.Join(o.dir, OfferFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("end join code: %w", err)
	}
	return nil
}

func (o *Offers) current() (Offer, bool) {
	var off Offer
	data, err := os.ReadFile(filepath.Join(o.dir, OfferFile))
	if err != nil || json.Unmarshal(data, &off) != nil {
		return Offer{}, false
	}
	left := off.Expires.Sub(o.now())
	// More time left than a code ever has: the clock was set back. Such a code would live too long.
	if left <= 0 || left > Validity+time.Minute {
		return Offer{}, false
	}
	return off, true
}

func (o *Offers) save(off Offer) error {
	data, err := json.Marshal(off)
	if err != nil {
		return fmt.Errorf("save join code: %w", err)
	}
	return siteconf.WriteFile(filepath.Join(o.dir, OfferFile), data, 0o600)
}
