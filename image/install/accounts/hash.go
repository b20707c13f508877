package accounts

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/crypto/md4" //nolint:staticcheck // the NT hash is MD4 by definition ([MS-NLMP] 3.3.1)
)

// cryptRounds makes one guess cost some 50 ms of a small server.
const cryptRounds = 50_000

// Crypt hashes a password as crypt(5) sha512crypt ("$6$…"), as /etc/shadow keeps it in every Debian release.
func Crypt(password string) (string, error) {
	h, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithRounds(cryptRounds))
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	d, err := h.Hash(password)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return d.Encode(), nil
}

// NTHash is what Samba keeps of a password: MD4 over its UTF-16LE form, in upper-case hexadecimal.
func NTHash(password string) string {
	m := md4.New()
	for _, u := range utf16.Encode([]rune(password)) {
		m.Write([]byte{byte(u), byte(u >> 8)})
	}
	return strings.ToUpper(hex.EncodeToString(m.Sum(nil)))
}
