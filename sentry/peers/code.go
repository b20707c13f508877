package peers

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"strings"
)

// A join code is 160 bits, written as eight groups of five characters: four carry data, the fifth checks its group, so that a
// mistyped group can be named. The alphabet is Crockford's base 32 (https://www.crockford.com/base32.html): no I, L, O and U;
// I and L are read as 1, O as 0, case and separators do not matter.
const (
	tokenBytes  = 10 // 80 random bits
	printBytes  = 10 // first 80 bits of the certificate's SHA-256
	codeGroups  = 8
	groupData   = 4
	groupLen    = groupData + 1
	codeLen     = codeGroups * groupLen
	crockford   = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeExample = "eight groups of five letters and digits"
)

// Code is what a person carries from a running server to a new one.
type Code struct {
	Token [tokenBytes]byte
	Print [printBytes]byte
}

// NewCode makes a code with a fresh token for the server whose certificate is der.
func NewCode(der []byte) (Code, error) {
	var c Code
	if _, err := rand.Read(c.Token[:]); err != nil {
		return c, fmt.Errorf("make join code: %w", err)
	}
	fp := Fingerprint(der)
	copy(c.Print[:], fp[:])
	return c, nil
}

// Matches tells whether der is the certificate that the code names.
func (c Code) Matches(der []byte) bool {
	fp := Fingerprint(der)
	return subtle.ConstantTimeCompare(fp[:printBytes], c.Print[:]) == 1
}

func (c Code) String() string {
	data := append(append(make([]byte, 0, tokenBytes+printBytes), c.Token[:]...), c.Print[:]...)
	digits := toDigits(data)
	var b strings.Builder
	for g := range codeGroups {
		if g > 0 {
			b.WriteByte('-')
		}
		group := digits[g*groupData : (g+1)*groupData]
		for _, d := range group {
			b.WriteByte(crockford[d])
		}
		b.WriteByte(crockford[check(g, group)])
	}
	return b.String()
}

// ParseCode reads a code as a person typed it. Errors are told in words for that person and wrap ErrCode.
func ParseCode(s string) (Code, error) {
	var c Code
	if len(s) > 4*codeLen {
		return c, fmt.Errorf("%w: it has %d characters; a code is %s", ErrCode, len(s), codeExample)
	}
	all := make([]byte, 0, codeLen)
	for _, r := range strings.ToUpper(s) {
		switch r {
		case '-', ' ', '\t', '\r', '\n', '.', '_', '\u2010', '\u2011', '\u2013':
			continue
		case 'I', 'L':
			r = '1'
		case 'O':
			r = '0'
		}
		i := strings.IndexRune(crockford, r)
		if i < 0 {
			return c, fmt.Errorf("%w: %q does not occur in codes (group %d)", ErrCode, r, len(all)/groupLen+1)
		}
		all = append(all, byte(i))
	}
	if len(all) != codeLen {
		return c, fmt.Errorf("%w: it has %d characters without hyphens, but %d are needed (%s)", ErrCode, len(all), codeLen, codeExample)
	}
	digits := make([]byte, 0, codeGroups*groupData)
	for g := range codeGroups {
		group := all[g*groupLen : (g+1)*groupLen]
		if check(g, group[:groupData]) != group[groupData] {
			return c, fmt.Errorf("%w: group %d of %d is mistyped or in the wrong place", ErrCode, g+1, codeGroups)
		}
		digits = append(digits, group[:groupData]...)
	}
	data := fromDigits(digits)
	copy(c.Token[:], data[:tokenBytes])
	copy(c.Print[:], data[tokenBytes:])
	return c, nil
}

// check is the check digit of group g: a weighted sum in GF(32), whose weights differ and are not zero, plus the group's number.
// It finds every single wrong character, every two neighbours exchanged, and every two groups exchanged.
func check(g int, group []byte) byte {
	sum, w := byte(g+1), byte(2)
	for _, d := range group {
		sum ^= mul32(d, w)
		w = mul32(w, 2)
	}
	return sum
}

// mul32 multiplies in GF(32) with the polynomial x^5 + x^2 + 1.
func mul32(a, b byte) byte {
	var p byte
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			p ^= a
		}
		a <<= 1
		if a&32 != 0 {
			a ^= 0b100101
		}
	}
	return p
}

func toDigits(data []byte) []byte {
	out := make([]byte, 0, len(data)*8/5)
	var acc, bits uint
	for _, b := range data {
		acc, bits = acc<<8|uint(b), bits+8
		for bits >= 5 {
			bits -= 5
			out = append(out, byte(acc>>bits&31))
		}
	}
	return out
}

func fromDigits(digits []byte) []byte {
	out := make([]byte, 0, len(digits)*5/8)
	var acc, bits uint
	for _, d := range digits {
		acc, bits = acc<<5|uint(d), bits+5
		if bits >= 8 {
			bits -= 8
			out = append(out, byte(acc>>bits))
		}
	}
	return out
}
