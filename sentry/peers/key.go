package peers

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"sayasystems.com/atlas/image/siteconf"
)

// Identity is a server's own key and certificate.
type Identity struct {
	TLS  tls.Certificate
	Cert string // PEM
}

// NewKey makes server.key and server.crt in dir where they are absent; serverID becomes the certificate's name. A key that is
// there is kept, so that an interrupted installation can go on with it. The key never leaves dir.
func NewKey(dir, serverID string) error {
	keyPath, certPath := filepath.Join(dir, siteconf.KeyFile), filepath.Join(dir, siteconf.CertFile)
	key, err := readKey(keyPath)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
			return fmt.Errorf("make server key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return fmt.Errorf("make server key: %w", err)
		}
		if err := siteconf.WriteFile(keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if old, err := readCert(certPath); err == nil && key.Public().(ed25519.PublicKey).Equal(old.PublicKey) {
			return nil
		}
	}
	der, err := selfSigned(key, serverID)
	if err != nil {
		return err
	}
	return siteconf.WriteFile(certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// LoadIdentity reads the key and certificate that NewKey made in dir.
func LoadIdentity(dir string) (Identity, error) {
	certPath := filepath.Join(dir, siteconf.CertFile)
	text, err := os.ReadFile(certPath)
	if err != nil {
		return Identity{}, fmt.Errorf("read server certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(certPath, filepath.Join(dir, siteconf.KeyFile))
	if err != nil {
		return Identity{}, fmt.Errorf("read server key and certificate in %s: %w", dir, err)
	}
	return Identity{TLS: pair, Cert: string(text)}, nil
}

// selfSigned makes a certificate for key. Its validity is as long as the format allows, since only the bytes are compared.
func selfSigned(key ed25519.PrivateKey, serverID string) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make server certificate: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: serverID, Organization: []string{"ATLAS server"}},
		DNSNames:     []string{serverID},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280: no well-defined expiry
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make server certificate: %w", err)
	}
	return der, nil
}

func readKey(path string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read server key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("server key %s is not PEM; remove it to have a new one made, and join again", path)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("server key %s: %w", path, err)
	}
	key, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("server key %s is %T, want Ed25519", path, k)
	}
	return key, nil
}

func readCert(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return ParseCert(string(text))
}

// ParseCert parses exactly one PEM certificate with an Ed25519 key, as peers pin it.
func ParseCert(text string) (*x509.Certificate, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("certificate is not PEM")
	}
	if len(rest) != 0 {
		return nil, errors.New("more than one certificate, or text after it")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if _, ok := c.PublicKey.(ed25519.PublicKey); !ok {
		return nil, fmt.Errorf("certificate has a %s key, want Ed25519", c.PublicKeyAlgorithm)
	}
	return c, nil
}

// Fingerprint is the SHA-256 of a certificate in DER.
func Fingerprint(der []byte) [sha256.Size]byte { return sha256.Sum256(der) }
