// Package facts asks the daemons of a Debian release what they know: parameters, defaults, modules, what they take and ignore. The answers are
// what conversion between releases goes by (sentry/convert/facts).
//
//	Debian tree (the image's, or made for this) → room: a throw-away copy → ask/NAME.sh → parser → debian-NN.json
//
// Each question is a script that runs the daemon's own program in the tree and prints what it says in sections ("@@ listing"); each parser is a
// pure function of that text. So a new release is a matter of running this again, and a new service one of a script and a parser.
// The same packages give the same bytes: no dates, no name, memory or processors of the machine. It decides nothing about conversions.
package facts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sayasystems.com/atlas/build/sbom"
	"sayasystems.com/atlas/sentry/convert/facts"
)

// Dir is where the facts lie, relative to the sources.
const Dir = "sentry/convert/facts"

// Ask asks all daemons of the tree; progress goes to out.
func Ask(ctx context.Context, tree string, release int, out io.Writer) (*facts.Release, error) {
	r := &facts.Release{Number: release, Packages: map[string]string{}, Services: map[string]facts.Service{}}
	status, err := os.ReadFile(filepath.Join(tree, "var/lib/dpkg/status"))
	if err != nil {
		return nil, fmt.Errorf("%s is no Debian tree: %w", tree, err)
	}
	for _, d := range sbom.ParseStatus(string(status)) {
		r.Packages[d.Name] = d.Version
	}
	if r.Etc, err = hashes(tree); err != nil {
		return nil, err
	}
	var errs []error // of all, so that one run shows what a new release needs
	for _, q := range questions() {
		text, said, err := enter(ctx, tree, q.script)
		if err != nil {
			errs = append(errs, fmt.Errorf("ask %s of Debian %d: %w\n%s", q.service, release, err, said))
			continue
		}
		s, err := q.answer(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("ask %s of Debian %d: %w\n%s", q.service, release, err, said))
			continue
		}
		s.Source = q.source
		fmt.Fprintf(out, "  %-12s %-32s %4d parameters, %3d modules\n", q.service, s.Version, len(s.Params), len(s.Modules))
		r.Services[q.service] = s
	}
	return r, errors.Join(errs...)
}

// answer turns what the script printed into facts.
func (q question) answer(text string) (facts.Service, error) {
	parts := sections(text)
	s := facts.Service{Params: map[string]facts.Param{}, Modules: words(parts["modules"])}
	if s.Version = q.version(parts["version"]); s.Version == "" {
		return s, fmt.Errorf("it does not tell its version, but %q", parts["version"])
	}
	if q.parse != nil {
		q.parse(parts, &s)
	}
	slices.Sort(s.Modules)
	s.Modules = slices.Compact(s.Modules)
	if len(s.Params) < q.least || len(s.Modules) < q.leastModules {
		return s, fmt.Errorf("%d parameters and %d modules; there should be more than %d and %d: has its way of telling them changed?", len(s.Params), len(s.Modules), q.least, q.leastModules)
	}
	return s, nil
}

// hashes are of the files below /etc as the packages left them, by path without the first slash. What the build itself wrote into it (accounts, the
// host's name) is nobody's setting, and an empty database of passwords is another each time.
func hashes(tree string) (map[string]string, error) {
	out := map[string]string{}
	own := map[string]bool{
		"etc/passwd": true, "etc/group": true, "etc/shadow": true, "etc/gshadow": true, "etc/subuid": true, "etc/subgid": true, "etc/hosts": true, "etc/hostname": true,
		"etc/machine-id": true, "etc/sasldb2": true, "etc/ld.so.cache": true, "etc/initramfs-tools/update-initramfs.conf": true,
	}
	err := filepath.WalkDir(filepath.Join(tree, "etc"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(tree, name)
		if err != nil || own[rel] {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err //nolint:wrapcheck // names the path; wrapped below
		}
		sum := sha256.Sum256(data)
		out[rel] = hex.EncodeToString(sum[:])
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("files below /etc: %w", err)
	}
	return out, nil
}

// Write writes the facts into the folder of package sentry/convert/facts: one line for each parameter, so that a new version of a package shows
// as what it changed.
func Write(r *facts.Release, dir string) (string, error) {
	data, err := Marshal(r)
	if err != nil {
		return "", err
	}
	if back := new(facts.Release); json.Unmarshal(data, back) != nil || back.Number != r.Number {
		return "", errors.New("facts: what was written cannot be read; this is a mistake in the program")
	}
	name := filepath.Join(dir, "debian-"+strconv.Itoa(r.Number)+".json")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		return "", fmt.Errorf("write facts: %w", err)
	}
	return name, nil
}

// Marshal writes JSON with one line for each entry of a map.
func Marshal(r *facts.Release) ([]byte, error) {
	var b bytes.Buffer
	var errs []error
	line := func(v any) string {
		var l bytes.Buffer
		e := json.NewEncoder(&l)
		e.SetEscapeHTML(false)
		errs = append(errs, e.Encode(v))
		return strings.TrimSpace(l.String())
	}
	fmt.Fprintf(&b, "{\n\"release\": %d,\n\"packages\": ", r.Number)
	entries(&b, r.Packages, line)
	b.WriteString(",\n\"services\": {")
	for i, name := range slices.Sorted(maps.Keys(r.Services)) {
		s := r.Services[name]
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "\n%s: {\"version\": %s, \"source\": %s,\n\"params\": ", line(name), line(s.Version), line(s.Source))
		entries(&b, s.Params, line)
		if len(s.Modules) > 0 {
			b.WriteString(",\n\"modules\": [")
			for j, m := range s.Modules {
				if j > 0 {
					b.WriteString(",")
				}
				b.WriteString("\n" + line(m))
			}
			b.WriteString("]")
		}
		b.WriteString("}")
	}
	b.WriteString("\n},\n\"etc\": ")
	entries(&b, r.Etc, line)
	b.WriteString("\n}\n")
	return b.Bytes(), errors.Join(errs...)
}

func entries[V any](b *bytes.Buffer, m map[string]V, line func(any) string) {
	b.WriteString("{")
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n" + line(k) + ": " + line(m[k]))
	}
	b.WriteString("}")
}
