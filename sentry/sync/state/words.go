package state

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Word writes a path as people type it, fit for a terminal: "/etc/hosts", "@db/postgresql/roles.sql".
func (p Path) Word() string {
	if p.Under(Exports) {
		return Printable(string(p))
	}
	return "/" + Printable(string(p))
}

// ParsePath reads a path as people type it: "/etc/hosts", or below Exports. "/" is "": everything.
func ParsePath(s string) (Path, error) {
	s = strings.TrimRight(s, "/")
	if s == "" {
		return "", nil
	}
	if p := Path(s); p.Under(Exports) {
		return p, p.Check()
	}
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		return "", fmt.Errorf("path %s does not begin with /", Printable(clip(s)))
	}
	p := Path(rest)
	return p, p.Check()
}

// Printable makes text of unknown origin fit to be shown, in one line: whatever could steer a terminal, or set text in another order than it
// is written, is shown by its number.
func Printable(s string) string {
	if !strings.ContainsFunc(s, odd) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case !odd(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// PrintableText is Printable for the text of a file: it keeps tabs.
func PrintableText(s string) string {
	parts := strings.Split(s, "\t")
	for i := range parts {
		parts[i] = Printable(parts[i])
	}
	return strings.Join(parts, "\t")
}

// odd are runes that are not shown as they are. U+FFFD is what bytes that are no UTF-8 are read as.
func odd(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// MarshalText writes a path for JSON, which has no place for bytes that are no UTF-8: each becomes a zero byte, which no path holds, and
// two hexadecimal digits. (encoding/json does not ask it for the keys of maps.)
func (p Path) MarshalText() ([]byte, error) {
	if utf8.ValidString(string(p)) {
		return []byte(p), nil
	}
	var b []byte
	for s := string(p); len(s) > 0; {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			b = fmt.Appendf(b, "\x00%02x", s[0])
		} else {
			b = append(b, s[:n]...)
		}
		s = s[n:]
	}
	return b, nil
}

// UnmarshalText is the reverse of MarshalText. Check tells whether what came is a path.
func (p *Path) UnmarshalText(text []byte) error {
	head, rest, found := strings.Cut(string(text), "\x00")
	for found {
		if len(rest) < 2 {
			return fmt.Errorf("path %s ends within a byte", Printable(clip(string(text))))
		}
		v, err := strconv.ParseUint(rest[:2], 16, 8)
		if err != nil {
			return fmt.Errorf("path %s: %w", Printable(clip(string(text))), err)
		}
		var more string
		head += string([]byte{byte(v)})
		more, rest, found = strings.Cut(rest[2:], "\x00")
		head += more
	}
	*p = Path(head)
	return nil
}
