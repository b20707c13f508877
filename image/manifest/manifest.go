// Package manifest says what an image is: version, Debian release, kernel, packs and the version of every package, since that is
// what conversion between two servers depends on. The same Manifest lies in the image (layout.ImageInfo), on the install stick and
// beside the image file. Sums and signature over a directory of release files are here too, for the builder, which makes them, and
// for whoever checks them.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Format is the version of the manifest's own form.
const Format = 1

// Manifest describes one image.
type Manifest struct {
	Format   int               `json:"format"`
	Name     string            `json:"name"`     // profile: "atlas"
	Title    string            `json:"title"`    // for people: "ATLAS"
	Version  string            `json:"version"`  // "1.2.0"
	Release  string            `json:"release"`  // Debian release: "13"
	Codename string            `json:"codename"` // "trixie"
	Kernel   string            `json:"kernel"`   // release: "6.12.0-1-amd64"
	Date     time.Time         `json:"date"`     // of the Debian archive that it was made from
	Go       string            `json:"go"`       // version of the compiler
	Packs    []string          `json:"packs"`
	Packages map[string]string `json:"packages"` // every Debian package and its version
	Binaries map[string]string `json:"binaries"` // SHA-256 of ATLAS's own programs
}

// Marshal writes m the same way each time.
func (m Manifest) Marshal() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return append(b, '\n'), nil
}

// maxSize bounds what is read.
const maxSize = 4 << 20

var versionRE = regexp.MustCompile(`^[0-9][0-9A-Za-z.~]{0,63}$`)

// Parse reads a manifest and checks what others make file names of.
func Parse(data []byte) (Manifest, error) {
	var m Manifest
	if len(data) > maxSize {
		return m, errors.New("read manifest: too large")
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("read manifest: %w", err)
	}
	if m.Format != Format {
		return m, fmt.Errorf("read manifest: form %d is not known here; known is %d", m.Format, Format)
	}
	if !versionRE.MatchString(m.Version) {
		return m, fmt.Errorf("read manifest: %q is not a version", m.Version)
	}
	return m, nil
}

// Load reads the manifest in a file.
func Load(name string) (Manifest, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return Manifest{}, fmt.Errorf("read manifest: %w", err)
	}
	m, err := Parse(data)
	if err != nil {
		return m, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func exists(name string) (bool, error) {
	_, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Names of the files beside an image.
const (
	SumsFile      = "SHA256SUMS"
	SignatureFile = "SHA256SUMS.sig"
	PublicKeyFile = "atlas.pub"
)

// ImageFile is the name of an image's file.
func ImageFile(name, version string) string { return name + "-" + version + ".img" }

func base(dir, name string) string { return filepath.Join(dir, filepath.Base(name)) }
