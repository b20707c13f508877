package history

import (
	"bytes"
	"fmt"
	"strings"
)

// sidecarName is the file in each recorded directory that keeps what git does not.
const sidecarName = ".atlas"

// escapePrefix begins the names, in git, of files whose own names git's tools refuse, take for their own settings, or could take for the
// sidecar. What follows is the name, with "%" and all bytes that are not printable ASCII as %XX. Each
// name has one such form, and each form one name (the test has the way back); what a file is called is read from the sidecar.
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
