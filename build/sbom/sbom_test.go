package sbom

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/build/programs"
)

const status = `Package: apache2
Status: install ok installed
Architecture: amd64
Version: 2.4.1-1~deb13u1
Description: server
 Package: not this one
Maintainer: Some One <one@example.org>

Package: gone
Status: deinstall ok config-files
Version: 1

Package: libc++1
Status: hold ok installed
Architecture: amd64
Source: llvm
Version: 1:2+b1
`

func TestParseStatus(t *testing.T) {
	want := []Deb{
		{"apache2", "2.4.1-1~deb13u1", "amd64", "", "Some One <one@example.org>", ""},
		{"libc++1", "1:2+b1", "amd64", "llvm", "", ""},
	}
	if d := cmp.Diff(want, ParseStatus(status)); d != "" {
		t.Errorf("ParseStatus (-want +got):\n%s", d)
	}
}

func TestMarshal(t *testing.T) {
	doc := Document{
		Name: "atlas", Version: "1", Release: "13", Date: time.Unix(0, 0), Digest: "d", Debs: ParseStatus(status),
		Modules: []programs.Module{{Path: "example.org/a/b", Version: "v1.0.0"}},
	}
	data, err := doc.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := doc.Marshal(); err != nil || !bytes.Equal(data, again) {
		t.Error("two documents of the same contents differ")
	}
	var got struct {
		Version  string `json:"spdxVersion"`
		Packages []struct {
			ID   string `json:"SPDXID"`
			Refs []ref  `json:"externalRefs"`
		} `json:"packages"`
		Relationships []relationship `json:"relationships"`
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "SPDX-2.3" || len(got.Packages) != 4 || len(got.Relationships) != 4 {
		t.Fatalf("%s with %d packages and %d relationships; want SPDX-2.3, 4, 4", got.Version, len(got.Packages), len(got.Relationships))
	}
	for i, want := range []string{"", "pkg:deb/debian/apache2@2.4.1-1~deb13u1?arch=amd64&distro=debian-13", "pkg:deb/debian/libc++1@1:2+b1?arch=amd64&distro=debian-13", "pkg:golang/example.org/a/b@v1.0.0"} {
		if want != "" && got.Packages[i].Refs[0].Locator != want {
			t.Errorf("package %d is %q; want %q", i, got.Packages[i].Refs[0].Locator, want)
		}
		if strings.ContainsAny(got.Packages[i].ID, "+/ _") {
			t.Errorf("%q is no SPDX identifier", got.Packages[i].ID)
		}
	}
}
