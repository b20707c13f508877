package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sayasystems.com/atlas/image/install/accounts"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
)

// The administrator's account.
const (
	AdminUser = "admin"
	AdminID   = 1000
)

// Secrets of the site below /etc.
const (
	VerifySecret = "atlas/verify.secret" // password of the verification account, one line
	SiteSecret   = "atlas/site.secret"   // from which packs derive keys and passwords that are the same on every set, one line; root's alone
	AdminNT      = "atlas/admin.nt"      // NT hash of the administrator's password, one line
)

// configureServer writes what stays on this server. server.yaml comes last: what has it is a server.
func (r *run) configureServer(context.Context) error {
	r.say("writing the server's own configuration")
	peers := siteconf.Peers{Site: r.site.Site, SiteName: r.site.SiteName, Admin: r.site.Admin, SSHKeys: r.site.SSHKeys, Peers: r.site.Peers}
	if err := siteconf.Save(filepath.Join(r.StateDir, siteconf.PeersFile), peers, 0o600); err != nil {
		return err
	}
	if _, err := siteconf.LoadPeers(r.StateDir); err != nil {
		return fmt.Errorf("check what was written: %w", err)
	}
	if err := siteconf.WriteFile(filepath.Join(r.StateDir, RootHashFile), []byte(r.site.RootHash+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(r.StateDir, filepath.Dir(AuthorizedKeys)), 0o700); err != nil {
		return fmt.Errorf("write ssh keys: %w", err)
	}
	if err := siteconf.WriteFile(filepath.Join(r.StateDir, AuthorizedKeys), r.keyLines(), 0o600); err != nil {
		return err
	}
	server := siteconf.Server{ID: r.id, Name: r.a.Server, Management: r.a.Management}
	if err := siteconf.Save(filepath.Join(r.StateDir, siteconf.ServerFile), server, 0o600); err != nil {
		return err
	}
	if _, err := siteconf.LoadServer(r.StateDir); err != nil {
		return fmt.Errorf("check what was written: %w", err)
	}
	r.did("management address: %s", r.a.Management.Address)
	return nil
}

// configureSet writes what travels with the set mounted at setDir.
func (r *run) configureSet(setDir string) error {
	etc := filepath.Join(setDir, layout.SetEtc, r.Version)
	if err := os.MkdirAll(filepath.Join(etc, "atlas"), 0o755); err != nil {
		return fmt.Errorf("configure set: %w", err)
	}
	path := filepath.Join(etc, siteconf.SiteFile)
	var err error
	if r.site.conf != nil {
		err = siteconf.Save(path, *r.site.conf, 0o644)
	} else {
		err = siteconf.WriteFile(path, []byte(r.site.SiteYAML), 0o644)
	}
	if err != nil {
		return err
	}
	conf, err := siteconf.LoadSite(etc)
	if err != nil {
		return fmt.Errorf("the site's configuration: %w", err)
	}
	if err := siteconf.WriteFile(filepath.Join(etc, VerifySecret), []byte(strings.TrimSpace(r.site.Verify)+"\n"), 0o600); err != nil {
		return err
	}
	if r.site.Secret != "" {
		if err := siteconf.WriteFile(filepath.Join(etc, SiteSecret), []byte(strings.TrimSpace(r.site.Secret)+"\n"), 0o600); err != nil {
			return err
		}
	}
	if r.site.NTHash != "" {
		if err := siteconf.WriteFile(filepath.Join(etc, AdminNT), []byte(r.site.NTHash), 0o600); err != nil {
			return err
		}
	}
	if err := siteconf.WriteFile(filepath.Join(etc, "hostname"), []byte(conf.Hostname+"\n"), 0o644); err != nil {
		return err
	}
	if err := siteconf.WriteFile(filepath.Join(etc, "hosts"), []byte(hosts(conf)), 0o644); err != nil {
		return err
	}
	admin := accounts.User{
		Name: AdminUser, ID: AdminID, Gecos: "Administrator", Home: "/home/" + AdminUser, Shell: "/bin/bash",
		Groups: []string{"sudo", "adm", "users"}, Hash: r.site.AdminHash,
	}
	if err := accounts.Add(etc, admin, r.Now()); err != nil {
		return err
	}
	if err := accounts.SetHash(etc, "root", r.site.RootHash, r.Now()); err != nil {
		return err
	}
	return r.adminHome(setDir, etc)
}

// hosts is /etc/hosts: the site's name is the same on every set, since a twin must answer as the primary does.
func hosts(s siteconf.Site) string {
	return fmt.Sprintf("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n%s\t%s %s\n", addrOf(s.Service.Address), s.FQDN(), s.Hostname)
}

func (r *run) adminHome(setDir, etc string) error {
	home := filepath.Join(setDir, layout.SetHome, AdminUser)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return fmt.Errorf("make the administrator's home: %w", err)
	}
	skel := filepath.Join(etc, "skel")
	if _, err := os.Stat(skel); err == nil && !exists(home, ".profile") {
		if err := os.CopyFS(home, os.DirFS(skel)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the administrator's home: %w", err)
		}
	}
	if len(r.site.SSHKeys) > 0 {
		if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
			return fmt.Errorf("make the administrator's home: %w", err)
		}
		if err := siteconf.WriteFile(filepath.Join(home, ".ssh", "authorized_keys"), r.keyLines(), 0o600); err != nil {
			return err
		}
	}
	err := filepath.WalkDir(home, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, AdminID, AdminID)
	})
	if err != nil {
		return fmt.Errorf("make the administrator's home: %w", err)
	}
	return nil
}

func (r *run) keyLines() []byte {
	if len(r.site.SSHKeys) == 0 {
		return nil
	}
	return []byte(strings.Join(r.site.SSHKeys, "\n") + "\n")
}
