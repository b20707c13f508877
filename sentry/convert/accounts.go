package convert

import (
	"bytes"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/sync/state"
)

// AccountFiles are the files of passwd(5) and its kin. They are changed on every server, and the accounts of another image's services must
// be there nevertheless: they are merged account by account. Identifiers of services are the same in every image.
func AccountFiles() []state.Path {
	return []state.Path{"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid"}
}

// IsAccounts tells whether a path is one of AccountFiles.
func IsAccounts(p state.Path) bool { return slices.Contains(AccountFiles(), p) }

// MergeAccounts merges files of lines whose first field, up to a colon, is their key. base is as the image shipped it that ours was made of,
// nil if that is not known. A line changed in ours stays, an unchanged one follows image, a new one of image is appended, one that was removed
// from ours stays away. An account that image no longer has stays: files may belong to it.
func MergeAccounts(base, image, ours []byte) []byte {
	was, is := accounts(base), accounts(image)
	have := map[string]bool{}
	var out bytes.Buffer
	for line := range strings.Lines(string(ours)) {
		k := account(line)
		have[k] = true
		end := line[len(strings.TrimSuffix(line, "\n")):]
		if old, ok := was[k]; ok && old+end == line {
			if now, ok := is[k]; ok {
				line = now + end
			}
		}
		out.WriteString(line)
	}
	for line := range strings.Lines(string(image)) {
		k := account(line)
		if _, old := was[k]; have[k] || old || k == "" {
			continue
		}
		have[k] = true
		if n := out.Len(); n > 0 && out.Bytes()[n-1] != '\n' {
			out.WriteByte('\n')
		}
		out.WriteString(strings.TrimSuffix(line, "\n") + "\n")
	}
	return out.Bytes()
}

func accounts(text []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		out[account(line)] = strings.TrimSuffix(line, "\n")
	}
	return out
}

func account(line string) string {
	name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
	return name
}
