// Package sbom writes the software bill of materials of an image as SPDX 2.3 JSON: each Debian package by dpkg's status file, each
// Go module in ATLAS's programs. https://spdx.github.io/spdx-spec/v2.3/
package sbom

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"sayasystems.com/atlas/build/programs"
)

// Deb is an installed Debian package.
type Deb struct {
	Name, Version, Architecture, Source, Maintainer string

	Release string // of Debian, where it is not the image's: programs that bring data forward
}

// ParseStatus reads dpkg's status file and returns the installed packages in its order.
func ParseStatus(text string) []Deb {
	var out []Deb
	for stanza := range strings.SplitSeq(text, "\n\n") {
		f := map[string]string{}
		for line := range strings.SplitSeq(stanza, "\n") {
			if k, v, ok := strings.Cut(line, ": "); ok && line[0] != ' ' {
				f[k] = v
			}
		}
		if f["Package"] == "" || !strings.HasSuffix(f["Status"], " installed") {
			continue
		}
		out = append(out, Deb{
			Name: f["Package"], Version: f["Version"], Architecture: f["Architecture"], Source: f["Source"], Maintainer: f["Maintainer"],
		})
	}
	return out
}

// Document is what an image contains.
type Document struct {
	Name, Version, Release string
	Date                   time.Time
	Digest                 string // SHA-256 of the root, which makes the document's namespace unique
	Debs                   []Deb
	Modules                []programs.Module
}

type ref struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxPackage struct {
	ID       string `json:"SPDXID"`
	Name     string `json:"name"`
	Version  string `json:"versionInfo"`
	Supplier string `json:"supplier,omitempty"`
	Download string `json:"downloadLocation"`
	Analyzed bool   `json:"filesAnalyzed"`
	Licence  string `json:"licenseConcluded"`
	Declared string `json:"licenseDeclared"`
	Right    string `json:"copyrightText"`
	Refs     []ref  `json:"externalRefs,omitempty"`
}

type relationship struct {
	From string `json:"spdxElementId"`
	Kind string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

var notID = regexp.MustCompile(`[^A-Za-z0-9.-]`)

// Marshal writes the document. The same contents give the same bytes.
func (d Document) Marshal() ([]byte, error) {
	const none = "NOASSERTION"
	image := spdxPackage{
		ID: "SPDXRef-image", Name: d.Name, Version: d.Version, Download: none, Licence: none, Declared: none, Right: none,
	}
	packages := []spdxPackage{image}
	rel := []relationship{{"SPDXRef-DOCUMENT", "DESCRIBES", image.ID}}
	add := func(p spdxPackage) {
		p.Download, p.Licence, p.Declared, p.Right = none, none, none, none
		packages = append(packages, p)
		rel = append(rel, relationship{image.ID, "CONTAINS", p.ID})
	}
	for _, b := range d.Debs {
		id, release := "SPDXRef-deb-"+notID.ReplaceAllString(b.Name, "-"), d.Release
		if b.Release != "" {
			id, release = id+"-of-"+b.Release, b.Release
		}
		add(spdxPackage{
			ID: id, Name: b.Name, Version: b.Version, Supplier: "Organization: Debian",
			Refs: []ref{{"PACKAGE-MANAGER", "purl", fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s&distro=debian-%s", url.PathEscape(b.Name), url.PathEscape(b.Version), b.Architecture, release)}},
		})
	}
	for _, m := range d.Modules {
		add(spdxPackage{
			ID: "SPDXRef-go-" + notID.ReplaceAllString(m.Path, "-"), Name: m.Path, Version: m.Version,
			Refs: []ref{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + m.Path + "@" + url.PathEscape(m.Version)}},
		})
	}
	doc := map[string]any{
		"spdxVersion":       "SPDX-2.3",
		"dataLicense":       "CC0-1.0",
		"SPDXID":            "SPDXRef-DOCUMENT",
		"name":              d.Name + "-" + d.Version,
		"documentNamespace": "https://sayasystems.com/spdx/" + d.Name + "-" + d.Version + "-" + d.Digest,
		"creationInfo":      map[string]any{"created": d.Date.UTC().Format(time.RFC3339), "creators": []string{"Tool: atlas-build"}},
		"packages":          packages,
		"relationships":     rel,
	}
	b, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return nil, fmt.Errorf("write bill of materials: %w", err)
	}
	return append(b, '\n'), nil
}
