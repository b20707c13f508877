package verify

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSH shakes hands, so that the host key is shown to be there and used, and tries to log in with a key and a password that nobody has: to be
// refused is what passes. With a key of its own it logs in, too. Parameters: port ("22"), user ("atlas-verify"), key (file of a private key
// that must be let in), passwords ("no": none may even be asked for).
func SSH(ctx context.Context, t Target) Outcome {
	p := sshProbe{t: t, next: fmt.Sprintf("On %s's console look at the service: `systemctl status ssh`, `sshd -T`.", t.Server)}
	_, unknownKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		return unknown(err.Error(), "Report this to the vendor.")
	}
	signer, err := ssh.NewSignerFromKey(unknownKey)
	if err != nil {
		return unknown(err.Error(), "Report this to the vendor.")
	}
	offered := false
	err = p.login(ctx, stepRefusal, t.Param("user", "nobody-known"), ssh.PublicKeys(signer), ssh.PasswordCallback(func() (string, error) { offered = true; return rand.Text(), nil }))
	switch {
	case err == nil && offered:
		return alarm("a password that nobody has was accepted", "Take the server off the network and look at /etc/pam.d and sshd's configuration.")
	case err == nil:
		return alarm("a key that nobody has was accepted", "Take the server off the network and look at sshd's configuration.")
	case p.key == nil:
		return failed("handshake", err, p.next)
	case !sshRefused(err):
		return failed("log in with a wrong password", err, p.next)
	}
	seen := "host key " + ssh.FingerprintSHA256(p.key)
	switch {
	case !offered:
		seen += "; takes no passwords, and an unknown key is refused"
	case t.Param("passwords", "") == "no":
		return alarm("passwords are asked for, and must not be", "Set PasswordAuthentication no in sshd's configuration.")
	default:
		seen += "; a wrong password is refused, and so is an unknown key"
	}
	switch key := t.Param("key", ""); key {
	case "":
		return Outcome{Status: Pass, Evidence: seen}
	case "secret":
		if t.Secret == "" {
			return noSecret(t)
		}
		signer, err = SSHKey(t.Secret)
	default:
		text, e := os.ReadFile(key)
		if e != nil {
			return Outcome{Status: Skipped, Evidence: t.Observer + " has no verification key: " + e.Error(), Next: "Start a disk set in " + t.Observer + "."}
		}
		signer, err = ssh.ParsePrivateKey(text)
	}
	if err != nil {
		return misnamed(fmt.Sprintf("its key is no private key without a passphrase: %v", err))
	}
	user := t.Param("key_user", "atlas-verify")
	if err := p.login(ctx, stepLogin, user, ssh.PublicKeys(signer)); err != nil {
		return failed("log in as "+user+" with the verification key", err, p.next)
	}
	return Outcome{Status: Pass, Evidence: seen + "; the verification key lets in"}
}

// SSHKey is the key of the verification account. It is made from the account's password, which all servers of the site know, and is another as soon
// as that is.
func SSHKey(secret string) (ssh.Signer, error) {
	seed := sha256.Sum256([]byte("ATLAS verification account, key for ssh\n" + secret))
	return ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed[:]))
}

type sshProbe struct {
	t    Target
	next string
	key  ssh.PublicKey // of the host
}

// login connects, logs in and goes away again.
func (p *sshProbe) login(ctx context.Context, step, user string, auth ...ssh.AuthMethod) error {
	conn, err := dial(ctx, "tcp", p.t.Address, p.t.Param("port", "22"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	begin(ctx, step)
	c, _, _, err := ssh.NewClientConn(conn, p.t.Address, &ssh.ClientConfig{
		User: user, Auth: auth, ClientVersion: "SSH-2.0-ATLAS", Timeout: 10 * time.Second,
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error { p.key = k; return nil },
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	_ = c.Close()
	return nil
}

// sshRefused tells whether the handshake was good and the login was not.
func sshRefused(err error) bool {
	var auth *ssh.ServerAuthError
	return errors.As(err, &auth) || strings.Contains(err.Error(), "unable to authenticate")
}
