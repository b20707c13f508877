package verify

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// sshServer answers handshakes; password decides about logins, and keys about those with keys.
func sshServer(t *testing.T, password func(user string) error, keys ...func(ssh.PublicKey) error) string {
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
	if len(keys) > 0 {
		cfg.PublicKeyCallback = func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) { return nil, keys[0](k) }
	}
	if password != nil {
		cfg.PasswordCallback = func(c ssh.ConnMetadata, _ []byte) (*ssh.Permissions, error) { return nil, password(c.User()) }
	} else if len(keys) == 0 {
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
	no := func(string) error { return errors.New("no") }
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	ours, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	only := func(k ssh.PublicKey) error {
		if string(k.Marshal()) == string(ours.Marshal()) {
			return nil
		}
		return errors.New("no")
	}
	derived := func(k ssh.PublicKey) error {
		signer, err := SSHKey(at(t, "127.0.0.1:1", nil).Secret)
		if err == nil && string(k.Marshal()) != string(signer.PublicKey().Marshal()) {
			err = errors.New("no")
		}
		return err
	}
	none := func(ssh.PublicKey) error { return errors.New("no") }
	for _, c := range []struct {
		name, addr string
		params     map[string]string
		want       Status
		says       string
	}{
		{"key", sshServer(t, no, only), map[string]string{"key": file}, Pass, "the verification key lets in"},
		{"key that is not known", sshServer(t, no, none), map[string]string{"key": file}, Fail, "with the verification key"},
		{"key made from the password", sshServer(t, no, derived), map[string]string{"key": "secret"}, Pass, "the verification key lets in"},
		{"key made from another password", sshServer(t, no, only), map[string]string{"key": "secret"}, Fail, "log in as atlas-verify with the verification key"},
		{"every key", sshServer(t, no, func(ssh.PublicKey) error { return nil }), nil, Fail, "a key that nobody has was accepted"},
		{"asks for passwords against the policy", sshServer(t, no, only), map[string]string{"passwords": "no"}, Fail, "passwords are asked for"},
		{"keys only, as is the policy", sshServer(t, nil, only), map[string]string{"passwords": "no", "key": file}, Pass, "takes no passwords"},
		{"no key here", sshServer(t, no, only), map[string]string{"key": file + ".none"}, Skipped, "has no verification key"},
	} {
		if got := SSH(t.Context(), at(t, c.addr, c.params)); got.Status != c.want || !strings.Contains(got.Evidence, c.says) {
			t.Errorf("%s: SSH = %+v; want %s with %q", c.name, got, c.want, c.says)
		}
	}
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
