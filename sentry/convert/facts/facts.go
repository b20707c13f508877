// Package facts says what the daemons of each Debian release know: parameters, defaults, modules, and the versions of their packages. It is
// generated from the real packages (build facts), one file for each release, and read by the steps of a conversion, which must not guess.
package facts

import (
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"sync"
)

// Release is one Debian release as the image has it.
type Release struct {
	Number   int                `json:"release"`  // 13
	Packages map[string]string  `json:"packages"` // version of each Debian package that was asked
	Services map[string]Service `json:"services"` // by pack: "ssh", "postgresql", …; and "php", "login" (login.defs), "nftables"
	Etc      map[string]string  `json:"etc"`      // SHA-256 of the files below /etc as the packages ship them: "etc/ssh/sshd_config"
}

// Service is what a daemon says of itself.
type Service struct {
	Version string           `json:"version"` // of the program: "17.6"
	Source  string           `json:"source"`  // the command that told it: "postgres --describe-config"
	Params  map[string]Param `json:"params"`  // by name, as the daemon spells it in its own listing
	Modules []string         `json:"modules,omitempty"`
}

// Param is a setting that a daemon knows.
type Param struct {
	Default string `json:"default,omitempty"`
	Type    string `json:"type,omitempty"`
	Status  Status `json:"status,omitempty"`
}

// Status of a parameter in a release; "" is the usual one.
type Status string

// A setting may be taken and do nothing, or work and be on its way out.
const (
	Ignored    Status = "ignored"
	Deprecated Status = "deprecated"
)

// Knows tells whether a service of this release has the parameter.
func (r *Release) Knows(service, param string) bool {
	_, ok := r.Services[service].Params[param]
	return ok
}

// Default is a parameter's; false if the service does not know it.
func (r *Release) Default(service, param string) (string, bool) {
	p, ok := r.Services[service].Params[param]
	return p.Default, ok
}

// Ships tells whether this release's packages ship a file with that content: then nobody has changed it.
func (r *Release) Ships(path string, data []byte) bool {
	sum, ok := r.Etc[path]
	return ok && sum == fmt.Sprintf("%x", sha256.Sum256(data))
}

//go:embed debian-*.json
var files embed.FS

var releases = map[int]func() (*Release, error){11: read(11), 12: read(12), 13: read(13)}

func read(number int) func() (*Release, error) {
	return sync.OnceValues(func() (*Release, error) {
		name := fmt.Sprintf("debian-%d.json", number)
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("facts of Debian %d: %w", number, err)
		}
		r := new(Release)
		if err := json.Unmarshal(data, r); err != nil {
			return nil, fmt.Errorf("facts of Debian %d: %w", number, err)
		}
		return r, nil
	})
}

// Of gives the facts of a release.
func Of(number int) (*Release, error) {
	if f, ok := releases[number]; ok {
		return f()
	}
	return nil, fmt.Errorf("nothing is known of Debian %d; known are 11, 12 and 13", number)
}
