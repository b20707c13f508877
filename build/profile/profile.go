// Package profile reads the vendor's description of an image: Debian release, kernel, packages, service packs. Every mistake is
// told by file, line and key. It decides nothing about how the image is made.
package profile

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/settings"
)

// Profile describes one image.
type Profile struct {
	Name           string   `yaml:"name"`            // "atlas"
	Title          string   `yaml:"title"`           // for people; "ATLAS" if empty
	Version        string   `yaml:"version"`         // of the image: "1.2.0"
	Release        string   `yaml:"release"`         // Debian release: "13" or "12"
	Mirror         string   `yaml:"mirror"`          // Debian archive; the host's if empty
	SecurityMirror string   `yaml:"security_mirror"` // Debian's security archive; the host's if empty and mirror is empty too
	Components     []string `yaml:"components"`      // of the archive; main if empty ("non-free-firmware" for some network adapters)
	Kernel         string   `yaml:"kernel"`          // kernel package; "linux-image-amd64" if empty
	Packs          []string `yaml:"packs"`           // names of the service packs, no others; all that are not absent by default if empty
	With           []string `yaml:"with"`            // service packs that are absent by default, to be in this image
	Without        []string `yaml:"without"`         // service packs to leave out
	PackDirs       []string `yaml:"pack_dirs"`       // folders with further packs, relative to the profile
	Packages       []string `yaml:"packages"`        // further Debian packages
	ModulesExclude []string `yaml:"modules_exclude"` // directories of kernel modules to leave out; see DefaultExclude
	Older          []string `yaml:"older"`           // older releases whose programs are in the image, to bring data forward; the one before if not given, [] for none
	Compression    int      `yaml:"compression"`     // zstd level of the root, 1 to 22; 6 if 0

	file *settings.File // where each key stands
}

// Errorf makes an error that points at key of the profile: "without[0]".
func (p Profile) Errorf(key, format string, args ...any) error {
	if p.file == nil {
		return &settings.Error{File: "profile " + p.Name, Key: key, Msg: fmt.Sprintf(format, args...)}
	}
	return p.file.Errorf(key, format, args...)
}

// Choice is the key by which the profile puts one of the packs named in the image or leaves it out: the first that it mentions.
func (p Profile) Choice(names ...string) string {
	for _, n := range names {
		if i := slices.Index(p.Packs, n); i >= 0 {
			return fmt.Sprintf("packs[%d]", i)
		}
		if i := slices.Index(p.With, n); i >= 0 {
			return fmt.Sprintf("with[%d]", i)
		}
		if i := slices.Index(p.Without, n); i >= 0 {
			return fmt.Sprintf("without[%d]", i)
		}
	}
	return ""
}

// DefaultExclude is what a server does not need, below /lib/modules/*/kernel: sound, pictures, radio, laboratory instruments.
func DefaultExclude() []string {
	return []string{
		"drivers/accel", "drivers/bluetooth", "drivers/comedi", "drivers/gnss", "drivers/gpu", "drivers/iio", "drivers/infiniband", "drivers/input/joystick",
		"drivers/input/touchscreen", "drivers/isdn", "drivers/media", "drivers/net/can", "drivers/net/ieee802154", "drivers/net/wireless",
		"drivers/net/wwan", "drivers/nfc", "drivers/pcmcia", "drivers/platform/surface", "drivers/soundwire", "drivers/staging", "drivers/thunderbolt", "drivers/video",
		"net/bluetooth", "net/can", "net/mac80211", "net/nfc", "net/wireless", "sound",
		"fs/afs", "fs/ceph", "fs/coda", "fs/gfs2", "fs/jfs", "fs/nilfs2", "fs/ocfs2", "fs/orangefs",
	}
}

// Compression levels.
const (
	defaultCompression = 6 // a third larger than level 19, at a twentieth of the time: see rootfs
	maxCompression     = 22
)

// Load reads the profile at path; relative pack_dirs become relative to its directory.
func Load(path string) (Profile, error) {
	var p Profile
	f, err := settings.Load(path, &p)
	if err != nil {
		return Profile{}, err
	}
	if err := p.check(f); err != nil {
		return Profile{}, err
	}
	p.file = f
	for i, d := range p.PackDirs {
		if !filepath.IsAbs(d) {
			p.PackDirs[i] = filepath.Join(filepath.Dir(path), d)
		}
	}
	return p, nil
}

// Parse is Load for text.
func Parse(name string, data []byte) (Profile, error) {
	var p Profile
	f, err := settings.Parse(name, data, &p)
	if err != nil {
		return Profile{}, err
	}
	if err := p.check(f); err != nil {
		return Profile{}, err
	}
	p.file = f
	return p, nil
}

var (
	nameRE      = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)
	versionRE   = regexp.MustCompile(`^[0-9]+(\.[0-9]+){0,3}(~[a-z0-9.]+)?$`)
	packageRE   = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]+$`)
	componentRE = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

// check fills in defaults and finds mistakes.
func (p *Profile) check(f *settings.File) error {
	p.defaults()
	if !nameRE.MatchString(p.Name) {
		return f.Errorf("name", "%q: give a short name of lower-case letters, digits and dashes, such as atlas", p.Name)
	}
	if !versionRE.MatchString(p.Version) {
		return f.Errorf("version", "%q is not a version: write numbers with dots, such as 1.2.0", p.Version)
	}
	if p.Release != "12" && p.Release != "13" {
		return f.Errorf("release", "%q is not a Debian release that images can be made of: 12 or 13", p.Release)
	}
	for key, v := range map[string]string{"mirror": p.Mirror, "security_mirror": p.SecurityMirror} {
		if v != "" && !mirrorOK(v) {
			return f.Errorf(key, "%q: give the address of a Debian archive, beginning with http://, https:// or file:/", v)
		}
	}
	if p.Mirror == "" && p.SecurityMirror != "" {
		return f.Errorf("security_mirror", "is given without mirror; give both or neither")
	}
	for i, c := range p.Components {
		if !componentRE.MatchString(c) {
			return f.Errorf(fmt.Sprintf("components[%d]", i), "%q is not a component of the archive, such as main or non-free-firmware", c)
		}
	}
	if !slices.Contains(p.Components, "main") {
		return f.Errorf("components", "has no main; the image cannot be made without it")
	}
	if !packageRE.MatchString(p.Kernel) || !strings.HasPrefix(p.Kernel, "linux-image-") {
		return f.Errorf("kernel", "%q is not a kernel package: its name begins with linux-image-", p.Kernel)
	}
	for i, v := range p.Packages {
		if !packageRE.MatchString(v) {
			return f.Errorf(fmt.Sprintf("packages[%d]", i), "%q is not the name of a Debian package", v)
		}
	}
	for i, v := range p.Packs {
		if !nameRE.MatchString(v) {
			return f.Errorf(fmt.Sprintf("packs[%d]", i), "%q is not the name of a service pack", v)
		}
		if slices.Index(p.Packs, v) != i {
			return f.Errorf(fmt.Sprintf("packs[%d]", i), "%s is listed twice", v)
		}
	}
	for _, l := range []struct {
		key   string
		names []string
	}{{"with", p.With}, {"without", p.Without}} {
		for i, v := range l.names {
			key := l.key
			if !nameRE.MatchString(v) {
				return f.Errorf(fmt.Sprintf("%s[%d]", key, i), "%q is not the name of a service pack", v)
			}
			if len(p.Packs) > 0 {
				return f.Errorf(key, "stands beside packs, which lists them all; give one of them")
			}
			if slices.Index(l.names, v) != i {
				return f.Errorf(fmt.Sprintf("%s[%d]", key, i), "%s is listed twice", v)
			}
			if key == "without" && slices.Contains(p.With, v) {
				return f.Errorf(fmt.Sprintf("without[%d]", i), "%s stands under with too; decide", v)
			}
		}
	}
	for i, v := range p.ModulesExclude {
		if v == "" || filepath.IsAbs(v) || filepath.Clean(v) != v || strings.HasPrefix(v, "..") || strings.ContainsAny(v, "*?[ \n") {
			return f.Errorf(fmt.Sprintf("modules_exclude[%d]", i), "%q: give a directory below the kernel's, such as drivers/gpu", v)
		}
	}
	for i, v := range p.Older {
		if n, ok := map[string]string{"13": "12"}[p.Release]; !ok || v != n {
			return f.Errorf(fmt.Sprintf("older[%d]", i), "%q is no release whose data an image of Debian %s can bring forward: for 13 there is 12", v, p.Release)
		}
		if slices.Index(p.Older, v) != i {
			return f.Errorf(fmt.Sprintf("older[%d]", i), "%s is listed twice", v)
		}
	}
	if p.Compression < 1 || p.Compression > maxCompression {
		return f.Errorf("compression", "%d is not a level of zstd: 1 to %d", p.Compression, maxCompression)
	}
	return nil
}

func (p *Profile) defaults() {
	if p.Title == "" {
		p.Title = "ATLAS"
	}
	if p.Kernel == "" {
		p.Kernel = "linux-image-amd64"
	}
	if len(p.Components) == 0 {
		p.Components = []string{"main"}
	}
	if p.ModulesExclude == nil {
		p.ModulesExclude = DefaultExclude()
	}
	if p.Older == nil && p.Release == "13" {
		p.Older = []string{"12"}
	}
	if p.Compression == 0 {
		p.Compression = defaultCompression
	}
}

func mirrorOK(s string) bool {
	rest, ok := "", false
	for _, scheme := range []string{"http://", "https://", "file:/"} {
		if rest, ok = strings.CutPrefix(s, scheme); ok {
			break
		}
	}
	return ok && rest != "" && !strings.ContainsAny(s, " \t\n\"'\\$`")
}
