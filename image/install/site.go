package install

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/bcrypt"

	"sayasystems.com/atlas/image/install/accounts"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
)

func (r *run) foundOrJoin(ctx context.Context) error {
	if err := r.address(ctx); err != nil {
		return err
	}
	var err error
	if r.a.New != nil {
		err = r.found()
	} else {
		err = r.join(ctx)
	}
	if err != nil {
		return err
	}
	r.sum.Site, r.sum.SiteName = r.site.Site, r.site.SiteName
	for _, k := range r.a.SSHKeys {
		if k = strings.TrimSpace(k); !slices.Contains(r.site.SSHKeys, k) {
			r.site.SSHKeys = append(r.site.SSHKeys, k)
		}
	}
	// From now on labels of this site on the chosen disks are this installation's own.
	r.mark.Site = r.site.Site
	return r.writeMark()
}

// address learns the management address, and brings the network up where it is needed.
func (r *run) address(ctx context.Context) error {
	if a := addrOf(r.a.Management.Address); a.IsValid() {
		r.mgmt = a
	}
	if r.a.Join != nil || !r.mgmt.IsValid() {
		r.say("bringing the management network up")
		p, err := r.Network(ctx, r.a.Management)
		switch {
		case err == nil:
			r.mgmt = p.Addr()
		case r.a.Join != nil:
			return fmt.Errorf("bring the management network up: %w", err)
		default:
			r.warn("the management network does not come up: %v", err)
		}
	}
	if r.mgmt.IsValid() {
		r.sum.Management = r.mgmt.String()
	}
	if r.a.Management.Address == "dhcp" {
		r.warn("the management address comes by DHCP: reserve it in the DHCP server, the site's servers know each other by it")
	}
	return nil
}

func (r *run) found() error {
	n := *r.a.New
	r.say("founding the site %s", n.Name)
	s := siteconf.Site{
		Site: uuid.NewString(), Name: strings.TrimSpace(n.Name), Hostname: n.Hostname, Domain: n.Domain, Service: n.Service,
		Addresses: n.Addresses, Services: n.Services,
	}
	if s.Service.MAC == "" {
		s.Service.MAC = newMAC()
	}
	admin, hash, err := r.hash(r.a.Password)
	if err != nil {
		return err
	}
	r.site = site{
		JoinReply: JoinReply{
			Site: s.Site, SiteName: s.Name, Admin: admin,
			RootHash: hash, AdminHash: hash, NTHash: accounts.NTHash(r.a.Password) + "\n", Verify: rand.Text(), Secret: rand.Text() + rand.Text(),
		},
		conf: &s,
	}
	r.did("new site: %s, service address %s, host name %s", s.Name, s.Service.Address, s.Hostname)
	return nil
}

// hashes are what is kept of the administrator's password for the dashboard (bcrypt) and in /etc/shadow.
func hashes(password string) (dashboard, shadow string, err error) {
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return "", "", fmt.Errorf("hash password: %w", err)
	}
	shadow, err = accounts.Crypt(password)
	return string(b), shadow, err
}

func (r *run) join(ctx context.Context) error {
	address, code := r.a.Join.Address, r.a.Join.Code
	if r.a.Join.File {
		j, err := LoadJoin(filepath.Join(r.StickDir, layout.JoinFile))
		if err != nil {
			return err
		}
		address, code = j.Address, j.Code
	}
	if host, err := netip.ParseAddr(address); err == nil && host == r.mgmt {
		return fmt.Errorf("management address %s is the other server's; each server needs its own", address)
	}
	cert, err := os.ReadFile(filepath.Join(r.StateDir, siteconf.CertFile))
	if err != nil {
		return fmt.Errorf("read own certificate: %w", err)
	}
	reply, err := r.askToJoin(ctx, address, code, JoinRequest{ID: r.id, Name: r.a.Server, Address: r.mgmt.String(), Cert: string(cert)})
	if err != nil {
		return err
	}
	if reply.Site == "" || reply.SiteYAML == "" || reply.RootHash == "" || reply.AdminHash == "" {
		return errors.New("the other server's answer is incomplete; install both from the same image")
	}
	for _, p := range reply.Peers {
		if p.Name == r.a.Server {
			return fmt.Errorf("the site has a server called %s already; give this one another name", p.Name)
		}
		r.did("joined: server %s (%s), certificate pinned", p.Name, p.Address)
	}
	r.site = site{JoinReply: reply}
	return nil
}

// askToJoin asks until there is an answer: a link that has just come up takes a while to pass packets, and the other server may
// be starting.
func (r *run) askToJoin(ctx context.Context, address, code string, me JoinRequest) (JoinReply, error) {
	r.say("asking the server at %s", address)
	for began := r.Now(); ; {
		reply, err := r.Join(ctx, address, code, me)
		if err == nil || errors.Is(err, ErrRefused) || ctx.Err() != nil || r.Now().Sub(began) >= r.Patience {
			return reply, err
		}
		r.say("no answer yet (%v); asking again", err)
		select {
		case <-ctx.Done():
			return reply, ctx.Err()
		case <-time.After(3 * time.Second):
		}
	}
}

// newMAC makes a locally administered unicast address; 02:a7:1a marks it as ATLAS's to whoever reads a switch's table.
func newMAC() string {
	m := net.HardwareAddr{0x02, 0xa7, 0x1a, 0, 0, 0}
	_, _ = rand.Read(m[3:]) // never fails, by its documentation
	return m.String()
}
