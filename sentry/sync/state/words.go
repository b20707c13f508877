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

// Text is text of files: any bytes. Whoever shows it has to make it Printable.
type Text string

// MarshalText writes a path for JSON, which has no place for bytes that are no UTF-8: each becomes a zero byte, which no path holds, and
// two hexadecimal digits. (encoding/json does not ask it for the keys of maps.)
func (p Path) MarshalText() ([]byte, error) { return marshal(string(p)), nil }

// UnmarshalText is the reverse of MarshalText. Check tells whether what came is a path.
func (p *Path) UnmarshalText(text []byte) error {
	s, err := unmarshal(string(text))
	*p = Path(s)
	return err
}

// MarshalText does the same for text; a zero byte is written so too.
func (t Text) MarshalText() ([]byte, error) { return marshal(string(t)), nil }

// UnmarshalText is the reverse of MarshalText.
func (t *Text) UnmarshalText(text []byte) error {
	s, err := unmarshal(string(text))
	*t = Text(s)
	return err
}

func marshal(s string) []byte {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return []byte(s)
	}
	b := make([]byte, 0, len(s)+8)
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == 0 || r == utf8.RuneError && n == 1 {
			b = fmt.Appendf(b, "\x00%02x", s[0])
		} else {
			b = append(b, s[:n]...)
		}
		s = s[n:]
	}
	return b
}

func unmarshal(s string) (string, error) {
	i := strings.IndexByte(s, 0)
	if i < 0 {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for rest := s; ; {
		b = append(b, rest[:i]...)
		if rest = rest[i+1:]; len(rest) < 2 {
			return "", fmt.Errorf("text %s ends within a byte", Printable(clip(s)))
		}
		v, err := strconv.ParseUint(rest[:2], 16, 8)
		if err != nil {
			return "", fmt.Errorf("text %s: %w", Printable(clip(s)), err)
		}
		b, rest = append(b, byte(v)), rest[2:]
		if i = strings.IndexByte(rest, 0); i < 0 {
			return string(append(b, rest...)), nil
		}
	}
}
