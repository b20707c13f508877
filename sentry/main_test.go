package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"

	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/verify"
)

// TestVerifyKey: sshd is told the key that the probe logs in with; without a password, none at all.
func TestVerifyKey(t *testing.T) {
	etc := t.TempDir()
	ask := func() (string, error) {
		var out bytes.Buffer
		err := run(context.Background(), []string{"verify-key", "--etc", etc}, &out, &out)
		return out.String(), err
	}
	if out, err := ask(); err == nil || out != "" {
		t.Errorf("without a password it prints %q, %v", out, err)
	}
	file := filepath.Join(etc, peers.VerifySecret)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"", "\n"} {
		if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := ask(); err == nil || out != "" {
			t.Errorf("with the password %q it prints %q, %v", secret, out, err)
		}
	}
	if err := os.WriteFile(file, []byte("horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(out))
	if err != nil || len(options) != 1 || options[0] != "restrict" {
		t.Fatalf("%q: options %v, %v", out, options, err)
	}
	signer, err := verify.SSHKey("horse battery")
	if err != nil || !bytes.Equal(key.Marshal(), signer.PublicKey().Marshal()) {
		t.Errorf("%q is not the probe's key (%v)", out, err)
	}
}
