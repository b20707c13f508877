package manifest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// LoadOrMakeKey reads the Ed25519 private key (PEM, PKCS #8) in a file, or makes one there, readable by the owner only. made tells
// whether it did.
func LoadOrMakeKey(name string) (key ed25519.PrivateKey, made bool, err error) {
	there, err := exists(name)
	if err != nil {
		return nil, false, fmt.Errorf("signing key: %w", err)
	}
	if !there {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, false, fmt.Errorf("make signing key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, false, fmt.Errorf("make signing key: %w", err)
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, false, fmt.Errorf("make signing key: %w", err)
		}
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			return nil, false, fmt.Errorf("make signing key: %w", err)
		}
		return key, true, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, false, fmt.Errorf("signing key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, false, fmt.Errorf("signing key %s: no PEM block; make one with: openssl genpkey -algorithm ed25519", name)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, false, fmt.Errorf("signing key %s: %w", name, err)
	}
	key, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, false, fmt.Errorf("signing key %s: is not an Ed25519 key; make one with: openssl genpkey -algorithm ed25519", name)
	}
	return key, false, nil
}

// MarshalPublic writes a public key as PEM.
func MarshalPublic(key ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("write public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ParsePublic reads a public key from PEM.
func ParsePublic(data []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("public key: no PEM block")
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	key, ok := k.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("public key: is not an Ed25519 key")
	}
	return key, nil
}

// Seal writes the sums of the named files in dir, signs them, and puts the public key beside.
func Seal(dir string, names []string, key ed25519.PrivateKey) error {
	names = append([]string(nil), names...)
	sort.Strings(names)
	var b bytes.Buffer
	for _, n := range names {
		sum, err := SumFile(base(dir, n))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, n)
	}
	pub, err := MarshalPublic(key.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	sig := base64.StdEncoding.EncodeToString(ed25519.Sign(key, b.Bytes())) + "\n"
	for n, data := range map[string][]byte{SumsFile: b.Bytes(), SignatureFile: []byte(sig), PublicKeyFile: pub} {
		if err := os.WriteFile(filepath.Join(dir, n), data, 0o644); err != nil {
			return fmt.Errorf("seal %s: %w", dir, err)
		}
	}
	return nil
}

// ErrSignature tells that the signature does not belong to the sums, or to another key.
var ErrSignature = errors.New("the signature is not this key's: the files are not what the vendor signed")

// Verify checks the signature over the sums in dir with key, then every file that they name. It returns those names.
func Verify(dir string, key ed25519.PublicKey) ([]string, error) {
	sums, err := os.ReadFile(filepath.Join(dir, SumsFile))
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	sig, err := os.ReadFile(filepath.Join(dir, SignatureFile))
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(sig)))
	if err != nil || !ed25519.Verify(key, sums, raw) {
		return nil, fmt.Errorf("verify %s: %w", dir, ErrSignature)
	}
	list, err := ParseSums(string(sums))
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", dir, err)
	}
	var names []string
	for _, s := range list {
		got, err := SumFile(filepath.Join(dir, s.Name))
		if err != nil {
			return nil, err
		}
		if got != s.SHA256 {
			return nil, fmt.Errorf("verify %s: the file is not the one that was signed (SHA-256 %s; want %s)", s.Name, got, s.SHA256)
		}
		names = append(names, s.Name)
	}
	return names, nil
}

// Sum is one line of SHA256SUMS.
type Sum struct{ SHA256, Name string }

// ParseSums reads the form of sha256sum(1). Names with a path are refused.
func ParseSums(text string) ([]Sum, error) {
	var out []Sum
	for line := range strings.Lines(text) {
		sum, name, ok := strings.Cut(strings.TrimRight(line, "\n"), "  ")
		if _, err := hex.DecodeString(sum); !ok || err != nil || len(sum) != 64 {
			return nil, fmt.Errorf("line %q is not a SHA-256 sum and a name", strings.TrimSpace(line))
		}
		if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
			return nil, fmt.Errorf("%q is not the name of a file in the same directory", name)
		}
		out = append(out, Sum{sum, name})
	}
	if len(out) == 0 {
		return nil, errors.New("no sums")
	}
	return out, nil
}

// SumFile returns the SHA-256 of a file in hexadecimal.
func SumFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("sum: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("sum %s: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
