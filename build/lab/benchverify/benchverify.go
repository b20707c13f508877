// Package benchverify compares what a probe costs Sentry with what the usual programs for it cost: monitoring-plugins, which are started anew for
// each look, and Prometheus's blackbox_exporter, which stays. All of them look at the primary of a namespace lab, from the office's client
// computer, in turn.
package benchverify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sayasystems.com/atlas/build/hosttool"
	"sayasystems.com/atlas/build/lab"
	"sayasystems.com/atlas/build/lab/folder"
)

// Options say what is measured.
type Options struct {
	Image  string
	Dir    string // of the lab and of what is unpacked; must be empty
	Rounds int    // looks of each at each target
	Stdout io.Writer
}

// plugins is where Debian has them.
const plugins = "/usr/lib/nagios/plugins"

// HereVerb is the builder's verb that measures, in the client's network.
const HereVerb = "bench-verify-here"

// settle is how long the servers may have to become ready.
const settle = 6 * time.Minute

// Run makes the lab and has it measured in the client's network, by this program itself.
func Run(ctx context.Context, o Options) error {
	if err := hosttool.Need("nsenter", "apt-get", "dpkg-deb"); err != nil {
		return err
	}
	for _, p := range []string{"check_http", "check_tcp", "check_smtp", "check_ldap", "check_pgsql", "check_mysql", "check_disk_smb"} {
		if _, err := os.Stat(filepath.Join(plugins, p)); err != nil {
			return fmt.Errorf("%w; install monitoring-plugins-basic, monitoring-plugins-standard and smbclient", err)
		}
	}
	// Unpacked, not installed: installed, it would be started on this machine.
	programs := filepath.Join(o.Dir, "programs")
	if err := hosttool.Unpack(ctx, programs, "prometheus-blackbox-exporter"); err != nil {
		return err
	}
	l, err := lab.Open(filepath.Join(o.Dir, "lab"))
	if err != nil {
		return err
	}
	if err := l.Up(ctx, lab.Options{Kind: folder.Namespace, Servers: 2, Image: o.Image, Progress: o.Stdout, Services: strings.Split(services, ",")}); err != nil {
		return err
	}
	defer func() { _ = l.Down(context.WithoutCancel(ctx), false) }() // the result is there; a folder left over tells itself
	if err := ready(ctx, l); err != nil {
		return err
	}
	secret, err := l.Exec(ctx, "left", "cat", "/etc/atlas/verify.secret")
	if err != nil {
		return fmt.Errorf("the verification password: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "nsenter", "--net="+l.Office.ClientNetNS(), self, HereVerb,
		"--rounds", strconv.Itoa(o.Rounds), "--blackbox", filepath.Join(programs, "usr/bin/prometheus-blackbox-exporter"), "--dir", o.Dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(secret), o.Stdout, os.Stderr
	return cmd.Run()
}

// services are those that are looked at.
const services = "addc,apache,dovecot,mariadb,openldap,postfix,postgresql,samba"

func ready(ctx context.Context, l *lab.Lab) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		out, err := l.Exec(ctx, "left", "atlas", "ready")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the servers did not become ready within %v: %s", settle, out), err)
		case <-time.After(2 * time.Second):
		}
	}
}
