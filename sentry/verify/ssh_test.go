package verify

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// sshServer answers handshakes; password decides about logins.
func sshServer(t *testing.T, password func(user string) error) string {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{}
	if password != nil {
		cfg.PasswordCallback = func(c ssh.ConnMetadata, _ []byte) (*ssh.Permissions, error) { return nil, password(c.User()) }
	} else {
		cfg.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, errors.New("no") }
	}
	cfg.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _, _, _ = ssh.NewServerConn(c, cfg)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func TestSSH(t *testing.T) {
	for _, c := range []struct {
		name, addr string
		want       Status
		says       string
	}{
		{"refuses", sshServer(t, func(string) error { return errors.New("no") }), Pass, "a wrong password is refused"},
		{"keys only", sshServer(t, nil), Pass, "takes no passwords"},
		{"lets everyone in", sshServer(t, func(string) error { return nil }), Fail, "was accepted"},
		{"no ssh", nutServer(t, nil), Fail, "handshake"},
		{"silent", silent(t), Fail, "no answer in time"},
		{"nobody", closedPort(t), Fail, "connect"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if got := SSH(ctx, at(t, c.addr, nil)); got.Status != c.want || !strings.Contains(got.Evidence, c.says) {
			t.Errorf("%s: SSH = %+v; want %s with %q", c.name, got, c.want, c.says)
		}
		cancel()
	}
}
