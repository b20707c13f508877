package peers

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sayasystems.com/atlas/image/siteconf"
)

// Book is peers.yaml in a state directory: who belongs to the site and which certificates are pinned. It follows changes of the
// file, which the installer writes before any daemon runs. Safe for concurrent use.
type Book struct {
	path string

	mu    sync.Mutex
	peers siteconf.Peers
	pins  [][]byte // DER, parallel to peers.Peers
	mod   time.Time
	size  int64
}

// OpenBook reads peers.yaml in dir.
func OpenBook(dir string) (*Book, error) {
	b := &Book{path: filepath.Join(dir, siteconf.PeersFile)}
	_, err := b.Peers()
	return b, err
}

// Peers is the site as this server knows it now.
func (b *Book) Peers() (siteconf.Peers, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.load()
}

func (b *Book) load() (siteconf.Peers, error) {
	st, err := os.Stat(b.path)
	if err != nil {
		return siteconf.Peers{}, fmt.Errorf("read peers: %w", err)
	}
	if !st.ModTime().Equal(b.mod) || st.Size() != b.size {
		p, err := siteconf.LoadPeers(filepath.Dir(b.path))
		if err != nil {
			return siteconf.Peers{}, err
		}
		pins := make([][]byte, 0, len(p.Peers))
		for _, q := range p.Peers {
			// A pin that does not parse matches nothing; the others still work.
			block, _ := pem.Decode([]byte(q.Cert))
			if block == nil {
				block = &pem.Block{}
			}
			pins = append(pins, block.Bytes)
		}
		b.peers, b.pins, b.mod, b.size = p, pins, st.ModTime(), st.Size()
	}
	p := b.peers
	p.Peers = append([]siteconf.Peer(nil), p.Peers...)
	p.SSHKeys = append([]string(nil), p.SSHKeys...)
	return p, nil
}

// ByCert finds the peer whose pinned certificate is der.
func (b *Book) ByCert(der []byte) (siteconf.Peer, bool) {
	if len(der) == 0 {
		return siteconf.Peer{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.load()
	if err != nil {
		return siteconf.Peer{}, false
	}
	for i, pin := range b.pins {
		if bytes.Equal(pin, der) {
			return p.Peers[i], true
		}
	}
	return siteconf.Peer{}, false
}

// Pin adds p, durably. A peer with the same name is replaced: that is a server installed anew. self are this server's own name and
// address, which nobody else may take.
func (b *Book) Pin(p siteconf.Peer, self siteconf.Peer) error {
	if err := CheckPeer(p); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	all, err := b.load()
	if err != nil {
		return err
	}
	if p.Name == self.Name || p.ID == self.ID {
		return fmt.Errorf("the name %s is this server's own; give the new server another name", self.Name)
	}
	if p.Address == self.Address {
		return fmt.Errorf("the address %s is this server's own; give the new server another address", self.Address)
	}
	kept := make([]siteconf.Peer, 0, len(all.Peers)+1)
	for _, q := range all.Peers {
		switch {
		case q.Name == p.Name:
		case q.ID == p.ID || q.Cert == p.Cert:
			return fmt.Errorf("server %s of this site has the same id or key; install the new server from scratch", q.Name)
		case q.Address == p.Address:
			return fmt.Errorf("the address %s belongs to server %s of this site; give the new server another address", q.Address, q.Name)
		default:
			kept = append(kept, q)
		}
	}
	if len(kept)+2 > MaxServers {
		return fmt.Errorf("this site already has %d servers, which is the most it can have", MaxServers)
	}
	all.Peers = append(kept, p)
	if err := siteconf.Save(b.path, all, 0o600); err != nil {
		return fmt.Errorf("pin server %s: %w", p.Name, err)
	}
	b.mod = time.Time{} // read it again
	return nil
}

// Absent tells whether err of OpenBook or Peers means that there is no peers.yaml: this server belongs to no site yet.
func Absent(err error) bool { return errors.Is(err, os.ErrNotExist) }
