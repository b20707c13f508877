package history

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// sidecarName is the file in each recorded directory that keeps what git does not.
const sidecarName = ".atlas"

// escapePrefix begins the names, in git, of files whose own names git's tools refuse, take for their own settings, or could take for the
// sidecar. What follows is the name, with "%" and all bytes that are not printable ASCII as %XX.
const escapePrefix = ".atlas="

// escape gives the name that a file has in git's trees.
func escape(name string) string {
	if !refused(name) {
		return name
	}
	var b strings.Builder
	b.WriteString(escapePrefix)
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == '%' || c == '\\' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape is the reverse of escape; ok is false for what escape never yields.
func unescape(name string) (real string, ok bool) {
	rest, found := strings.CutPrefix(name, escapePrefix)
	if !found {
		return name, name != "" && !refused(name)
	}
	b := make([]byte, 0, len(rest))
	for i := 0; i < len(rest); i++ {
		if rest[i] != '%' {
			b = append(b, rest[i])
			continue
		}
		if i+3 > len(rest) {
			return "", false
		}
		v, err := strconv.ParseUint(rest[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(v))
		i += 2
	}
	real = string(b)
	return real, escape(real) == name
}

// refused follows git's fsck.c and path.c: ".git" in any case and its settings files, their short forms on FAT ("git~1", "gi7eba~1"), the
// same after a backslash, and with the invisible characters that HFS+ leaves out of a comparison.
func refused(name string) bool {
	lower := []byte(name)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	for _, p := range []string{".git", "git~", sidecarName, ".mailmap"} {
		if bytes.HasPrefix(lower, []byte(p)) {
			return true
		}
	}
	if (bytes.HasPrefix(lower, []byte("gi")) || bytes.HasPrefix(lower, []byte("ma"))) && bytes.IndexByte(lower, '~') >= 0 {
		return true
	}
	if bytes.IndexByte(lower, '\\') >= 0 && bytes.Contains(lower, []byte("git")) {
		return true
	}
	for _, ignored := range []string{"\xe2\x80", "\xe2\x81", "\xef\xbb\xbf"} {
		if bytes.Contains(lower, []byte(ignored)) {
			return true
		}
	}
	return false
}
