package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sayasystems.com/atlas/build/lab/office"
	"sayasystems.com/atlas/build/lab/place"
	"sayasystems.com/atlas/build/toolsroot"
)

// clientDir is the client computer's /tmp, kept from one command to the next: all that its programs can write to that lasts.
func (l *Lab) clientDir() string { return filepath.Join(l.Folder.Dir, "client") }

// clientEtc are the files by which the client knows the office: names as the office's own DNS would tell them, and the two
// Kerberos realms, the site's and that of its Active Directory.
func clientEtc() map[string]string {
	fqdn := "office." + office.Domain
	return map[string]string{
		"hosts": "127.0.0.1 localhost\n" + office.Service + " " + fqdn + " office\n" + office.Service6 + " " + fqdn + " office\n" +
			office.AD + " dc.ad." + office.Domain + " ad." + office.Domain + " dc\n" + office.Client + " client." + office.Domain + " client\n",
		// The office's DNS server is the domain controller. Where it does not run, nobody waits for it for long.
		"resolv.conf": "search " + office.Domain + "\nnameserver " + office.AD + "\noptions timeout:1 attempts:1\n",
		"krb5.conf": `[libdefaults]
	default_realm = ` + strings.ToUpper(office.Domain) + `
	dns_lookup_kdc = false
	dns_lookup_realm = false
	dns_canonicalize_hostname = false
	rdns = false
	default_ccache_name = FILE:/tmp/krb5cc
[realms]
	` + strings.ToUpper(office.Domain) + ` = {
		kdc = ` + fqdn + `
		admin_server = ` + fqdn + `
	}
	AD.` + strings.ToUpper(office.Domain) + ` = {
		kdc = dc.ad.` + office.Domain + `
		admin_server = dc.ad.` + office.Domain + `
	}
[domain_realm]
	.ad.` + office.Domain + ` = AD.` + strings.ToUpper(office.Domain) + `
	ad.` + office.Domain + ` = AD.` + strings.ToUpper(office.Domain) + `
	.` + office.Domain + ` = ` + strings.ToUpper(office.Domain) + `
	` + office.Domain + ` = ` + strings.ToUpper(office.Domain) + `
`,
	}
}

// ClientCommand makes a command that runs on the client computer of the office, in the tools root; start it with start. Its
// /tmp, with its home in it, is kept from one command to the next.
func (l *Lab) ClientCommand(ctx context.Context, args ...string) (cmd *exec.Cmd, start func() error, err error) {
	if _, err := l.Folder.Load(); err != nil {
		return nil, nil, err
	}
	if !l.Office.Exists() {
		return nil, nil, errors.New("the lab's network is not there; switch a server on: lab power on SERVER")
	}
	tools, err := toolsroot.Ensure(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	p, err := l.clientPlace(tools.Path)
	if err != nil {
		return nil, nil, err
	}
	p.NetNS = l.Office.ClientNetNS()
	cmd, err = p.Command(args[0], args[1:]...)
	if err != nil {
		return nil, nil, fmt.Errorf("client: %w", err)
	}
	cmd.Dir = "/tmp"
	cmd.Env = append(cmd.Env, "HOME=/tmp/home", "KRB5_CONFIG=/tmp/etc/krb5.conf")
	return cmd, func() error { return p.Start(cmd) }, nil
}

// clientPlace is the tools root as the client sees it; its network is still to be chosen.
func (l *Lab) clientPlace(tools string) (place.Place, error) {
	dir := l.clientDir()
	for _, d := range []string{dir, filepath.Join(dir, "home"), filepath.Join(dir, "etc")} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			return place.Place{}, fmt.Errorf("client: %w", err)
		}
	}
	binds := []place.Bind{{From: dir, To: "/tmp"}}
	for name, text := range clientEtc() {
		file := filepath.Join(dir, "etc", name)
		// Written once: a test may put other names there.
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				return place.Place{}, fmt.Errorf("client: %w", err)
			}
		}
		// The tools root has no krb5.conf that could be covered; KRB5_CONFIG points to this one.
		if name != "krb5.conf" {
			binds = append(binds, place.Bind{From: file, To: "/etc/" + name})
		}
	}
	return place.Place{Root: tools, Binds: binds}, nil
}

// Client runs a command on the client computer and returns what it printed. Its failure is an *ExitError.
func (l *Lab) Client(ctx context.Context, args ...string) ([]byte, error) {
	cmd, start, err := l.ClientCommand(ctx, args...)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = finish(ctx, cmd, start)
	return out.Bytes(), err
}
