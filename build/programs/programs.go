// Package programs compiles ATLAS's own programs for the appliance: static, stripped of this machine's paths, the same bytes for the
// same sources. The Go toolchain's own cache makes an unchanged one cost next to nothing.
package programs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// Program is one program of the image.
type Program struct {
	Name    string // in layout.LibDir
	Package string
}

// All returns the programs of an image.
func All() []Program {
	return []Program{
		{"init", "sayasystems.com/atlas/initsvc"},
		{"sentry", "sayasystems.com/atlas/sentry"},
		{"atlas", "sayasystems.com/atlas/sentry/atlas"},
	}
}

// Build compiles one program into the file out. moduleRoot is the directory of go.mod.
func Build(ctx context.Context, moduleRoot string, p Program, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, p.Package)
	cmd.Dir = moduleRoot
	cmd.Env = environ()
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s: %w\n%s", p.Name, err, b)
	}
	return nil
}

// environ is the same on every workstation, whatever the user has set for their own programs.
func environ() []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off")
}

// Module is a Go module that some program contains.
type Module struct {
	Path, Version string
}

// listed is what of `go list -json` is used.
type listed struct {
	ImportPath, Dir string
	Standard        bool
	GoFiles         []string
	EmbedFiles      []string
	Module          *struct {
		Path, Version string
		Main          bool
		Replace       *struct{ Path, Version string }
	}
}

// Sources lists the modules and the module's own source files that go into packages.
func Sources(ctx context.Context, moduleRoot string, packages ...string) (modules []Module, files []string, err error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-deps", "-json=ImportPath,Dir,Standard,GoFiles,EmbedFiles,Module"}, packages...)...)
	cmd.Dir = moduleRoot
	cmd.Env = environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("list Go packages: %w\n%s", err, stderr.Bytes())
	}
	seen := map[Module]bool{}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var l listed
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, fmt.Errorf("list Go packages: %w", err)
		}
		switch {
		case l.Standard || l.Module == nil:
		case l.Module.Main:
			for _, f := range append(l.GoFiles, l.EmbedFiles...) {
				files = append(files, filepath.Join(l.Dir, f))
			}
		default:
			m := Module{l.Module.Path, l.Module.Version}
			if l.Module.Replace != nil {
				m = Module{l.Module.Replace.Path, l.Module.Replace.Version}
			}
			seen[m] = true
		}
	}
	for m := range seen {
		modules = append(modules, m)
	}
	sort.Slice(modules, func(i, j int) bool { return modules[i].Path < modules[j].Path })
	sort.Strings(files)
	return modules, files, nil
}

// Version is the Go toolchain's, "go1.26.0".
func Version(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// ModuleRoot finds the directory of ATLAS's go.mod, from the working directory upwards: images are built from its sources.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find ATLAS's sources: %w", err)
	}
	for d := dir; ; d = filepath.Dir(d) {
		data, err := os.ReadFile(filepath.Join(d, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module sayasystems.com/atlas\n") {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("find ATLAS's sources: %s is not inside them; run the build from the checkout", dir)
		}
	}
}
