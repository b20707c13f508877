package peers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sayasystems.com/atlas/image/siteconf"
)

// Files of the set that a new server's set starts from, below /etc.
const (
	VerifySecret = "atlas/verify.secret"
	SiteSecret   = "atlas/site.secret"
	AdminNT      = "atlas/admin.nt"
)

// ReadHandOut gathers from etc, the /etc of a started set, what a new server needs. The caller has made sure that a set is
// started; without one, etc is the image's and holds no site.yaml, which is told as ErrNoSet.
func ReadHandOut(etc string) (JoinReply, error) {
	var r JoinReply
	text, err := os.ReadFile(filepath.Join(etc, siteconf.SiteFile))
	if errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("%w, so it cannot hand over the site's configuration; start its set, or join through another server", ErrNoSet)
	}
	if err != nil {
		return r, fmt.Errorf("hand out the site's configuration: %w", err)
	}
	r.SiteYAML = string(text)
	if text, err = os.ReadFile(filepath.Join(etc, VerifySecret)); err != nil {
		return r, fmt.Errorf("hand out the verification password: %w", err)
	}
	r.Verify = strings.TrimSpace(string(text))
	if text, err = os.ReadFile(filepath.Join(etc, SiteSecret)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("hand out the site's secret: %w", err)
	}
	r.Secret = strings.TrimSpace(string(text))
	if text, err = os.ReadFile(filepath.Join(etc, AdminNT)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("hand out the administrator's share password: %w", err)
	}
	r.NTHash = string(text)
	shadow, err := os.ReadFile(filepath.Join(etc, "shadow"))
	if err != nil {
		return r, fmt.Errorf("hand out the administrator's password: %w", err)
	}
	for line := range strings.Lines(string(shadow)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) > 1 && (f[0] == "root" || f[0] == "admin") {
			r.Shadow = append(r.Shadow, Shadow{User: f[0], Hash: f[1]})
		}
	}
	return r, nil
}
