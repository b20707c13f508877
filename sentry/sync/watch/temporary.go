package watch

import (
	"path"
	"slices"
	"strings"
)

// accountFiles are changed by the programs of the shadow suite, which lock them with files beside them.
var accountFiles = []string{"passwd", "shadow", "group", "gshadow", "subuid", "subgid"}

// Temporary tells names that editors, package tools and account tools use for a moment only, for Options.Skip: vi's test file and swap
// files, Emacs's locks, what dpkg unpacks before it renames it, locks of the account files. Copies that stay (hosts~, passwd-) are not
// among them.
func Temporary(name string) bool {
	base := path.Base(name)
	for _, pattern := range []string{
		"4913", ".*.sw[a-p]", ".*.swpx", ".#*", "#*#", "*.dpkg-new", "*.dpkg-tmp", "sed[A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9]",
		".pwd.lock",
	} {
		if ok, err := path.Match(pattern, base); err == nil && ok {
			return true
		}
	}
	stem, rest, found := strings.Cut(base, ".")
	if found && slices.Contains(accountFiles, stem) { // passwd.lock, and passwd.4711, which it is linked from
		return rest == "lock" || rest != "" && strings.Trim(rest, "0123456789") == ""
	}
	stem, found = strings.CutSuffix(base, "+")
	return found && slices.Contains(accountFiles, stem)
}
