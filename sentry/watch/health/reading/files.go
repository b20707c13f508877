package reading

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// Certificate is one that services show to clients.
type Certificate struct {
	Path  string    `json:"path"`
	Name  string    `json:"name"` // whom it is for
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	Own   bool      `json:"own,omitempty"` // it has signed itself: the appliance can make another one
}

// Certificates reads the .crt files of dir, the first certificate of each, which is the server's own; trusted.crt is a list of others'. bad names files
// that hold none.
func (r Root) Certificates(dir string) (list []Certificate, bad []string) {
	for _, n := range r.names(dir) {
		if !strings.HasSuffix(n, ".crt") || n == "trusted.crt" {
			continue
		}
		p := filepath.Join("/", dir, n)
		c, err := parseCertificate(r.word(dir, n))
		if err != nil {
			bad = append(bad, p)
			continue
		}
		c.Path = p
		list = append(list, c)
	}
	return list, bad
}

func parseCertificate(text string) (Certificate, error) {
	rest := []byte(text)
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return Certificate{}, fmt.Errorf("no certificate: %w", ErrAbsent)
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return Certificate{}, err
		}
		out := Certificate{Name: printable(c.Subject.CommonName), From: c.NotBefore, Until: c.NotAfter, Own: string(c.RawIssuer) == string(c.RawSubject)}
		if len(c.DNSNames) > 0 {
			out.Name = printable(c.DNSNames[0])
		}
		return out, nil
	}
}

// mostFiles of a directory of logs are looked at.
const mostFiles = 5000

// Sizes gives the sizes of the files below dir, without what links lead to.
func (r Root) Sizes(dir string) map[string]int64 {
	out := map[string]int64{}
	root := r.path(dir)
	_ = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // what is gone or may not be read is not counted
		}
		if len(out) >= mostFiles {
			return fs.SkipAll
		}
		if !e.Type().IsRegular() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			rel, _ := filepath.Rel(root, p)
			out[filepath.Join("/", dir, rel)] = info.Size()
		}
		return nil
	})
	return out
}
