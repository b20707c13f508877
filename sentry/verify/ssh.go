package verify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSH shakes hands, so that the host key is shown to be there and used, and tries to log in with a password that nobody has: to be
// refused is what passes. Parameters: port ("22"), user ("atlas-verify").
func SSH(ctx context.Context, t Target) Outcome {
	next := fmt.Sprintf("On %s's console look at the service: `systemctl status ssh`, `sshd -T`.", t.Server)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(t.Address, t.Param("port", "22")))
	if err != nil {
		return failed("connect", err, next)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var key ssh.PublicKey
	offered := false
	c, _, _, err := ssh.NewClientConn(conn, t.Address, &ssh.ClientConfig{
		User:            t.Param("user", "atlas-verify"),
		Auth:            []ssh.AuthMethod{ssh.PasswordCallback(func() (string, error) { offered = true; return rand.Text(), nil })},
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error { key = k; return nil },
		ClientVersion:   "SSH-2.0-ATLAS",
		Timeout:         10 * time.Second,
	})
	switch {
	case err == nil:
		_ = c.Close()
		return Outcome{Fail, "a password that nobody has was accepted", "Take the server off the network and look at /etc/pam.d and sshd's configuration."}
	case ctx.Err() != nil:
		return failed("handshake", ctx.Err(), next)
	case key == nil:
		return failed("handshake", err, next)
	}
	host := ssh.FingerprintSHA256(key)
	if !sshRefused(err) {
		return failed("log in with a wrong password", err, next)
	}
	if !offered {
		return Outcome{Status: Pass, Evidence: "host key " + host + "; takes no passwords"}
	}
	return Outcome{Status: Pass, Evidence: "host key " + host + "; a wrong password is refused"}
}

// sshRefused tells whether the handshake was good and the login was not.
func sshRefused(err error) bool {
	var auth *ssh.ServerAuthError
	return errors.As(err, &auth) || strings.Contains(err.Error(), "unable to authenticate")
}
