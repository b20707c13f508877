// Package modalias finds and loads the kernel modules that the devices of a machine ask for. The kernel writes a device's
// identity into its modalias file below /sys/devices; depmod's modules.alias says which module drives which identity; this
// package puts the two together, adds dependencies, and hands files to a Loader in the order in which they must be loaded.
//
//	modules.alias, .dep, .softdep, .builtin → Index → Match, Resolve → Plug (walks /sys/devices) → Loader (finit_module)
//
// It is used in the initramfs (few modules) and after it (all of them). It follows no modprobe.d configuration, makes no device
// nodes, and waits for no device: probing is asynchronous, so callers wait for what they need and call Plug.Run again.
// Sources: kmod's modules.alias(5)/modules.dep(5), Linux Documentation/admin-guide/modules.
package modalias

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
)

// Index is what depmod wrote about one kernel's modules. It is read-only after Open and safe for concurrent use.
type Index struct {
	dir     string              // directory in which the paths of modules.dep lie
	aliases map[string][]alias  // by the part before the first ':', or "" where that part holds a wildcard
	deps    map[string]module   // by normalised name
	soft    map[string]softdeps // by normalised name
	builtin map[string]bool     // by normalised name
}

type alias struct{ pattern, module string }

type module struct {
	file string
	deps []string // files, as modules.dep lists them: nearest first
}

type softdeps struct{ pre, post []string }

// Module is one file to load.
type Module struct {
	Name string // normalised: '-' written as '_'
	File string // absolute path
	Soft bool   // wanted by a softdep only: failing to load it is no error
}

// Open reads depmod's files in dir, "/lib/modules/<release>".
func Open(dir string) (*Index, error) {
	x, err := OpenFS(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("module index %s: %w", dir, err)
	}
	x.dir = dir
	return x, nil
}

// OpenFS is Open for a directory in any file system; Module.File is then relative to its root. modules.dep and modules.alias
// must be there, the others may be missing.
func OpenFS(fsys fs.FS) (*Index, error) {
	x := &Index{
		aliases: map[string][]alias{},
		deps:    map[string]module{},
		soft:    map[string]softdeps{},
		builtin: map[string]bool{},
	}
	read := func(name string, must bool, line func(string)) error {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			if !must {
				return nil
			}
			return err
		}
		for l := range strings.SplitSeq(string(data), "\n") {
			if l = strings.TrimSpace(l); l != "" && l[0] != '#' {
				line(l)
			}
		}
		return nil
	}
	if err := read("modules.dep", true, x.addDep); err != nil {
		return nil, err
	}
	if err := read("modules.alias", true, x.addAlias); err != nil {
		return nil, err
	}
	if err := read("modules.softdep", false, x.addSoftdep); err != nil {
		return nil, err
	}
	if err := read("modules.builtin", false, func(l string) { x.builtin[NameOf(l)] = true }); err != nil {
		return nil, err
	}
	return x, nil
}

// NameOf returns a module's normalised name for a file name, path or name: "kernel/fs/nls/nls_cp437.ko.xz" and "nls-cp437" are
// both "nls_cp437".
func NameOf(s string) string {
	s = path.Base(s)
	if i := strings.Index(s, ".ko"); i > 0 {
		s = s[:i]
	}
	return strings.ReplaceAll(s, "-", "_")
}

func (x *Index) addDep(line string) {
	file, rest, ok := strings.Cut(line, ":")
	if !ok || file == "" {
		return
	}
	x.deps[NameOf(file)] = module{file: file, deps: strings.Fields(rest)}
}

func (x *Index) addAlias(line string) {
	f := strings.Fields(line)
	if len(f) != 3 || f[0] != "alias" {
		return
	}
	b := bus(f[1])
	x.aliases[b] = append(x.aliases[b], alias{pattern: f[1], module: NameOf(f[2])})
}

func (x *Index) addSoftdep(line string) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "softdep" {
		return
	}
	name := NameOf(f[1])
	s := x.soft[name]
	into := &s.pre
	for _, w := range f[2:] {
		switch w {
		case "pre:":
			into = &s.pre
		case "post:":
			into = &s.post
		default:
			*into = append(*into, NameOf(w))
		}
	}
	x.soft[name] = s
}

// bus is the key under which a pattern or modalias is filed.
func bus(s string) string {
	b, _, ok := strings.Cut(s, ":")
	if !ok || strings.ContainsAny(b, "*?[") {
		return ""
	}
	return b
}

// Match returns the names of the modules that drive a device with the given modalias, or that are known by this alias
// ("fs-vfat"), sorted and without those that are built into the kernel.
func (x *Index) Match(modalias string) []string {
	found := map[string]bool{}
	lists := [][]alias{x.aliases[""]}
	if b := bus(modalias); b != "" {
		lists = append(lists, x.aliases[b])
	}
	for _, list := range lists {
		for _, a := range list {
			if !found[a.module] && !x.builtin[a.module] && Glob(a.pattern, modalias) {
				found[a.module] = true
			}
		}
	}
	if n := NameOf(modalias); !strings.ContainsAny(modalias, ":*/") && x.deps[n].file != "" {
		found[n] = true
	}
	names := make([]string, 0, len(found))
	for n := range found {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// NotFoundError tells of a module that the index does not know.
type NotFoundError struct{ Name string }

func (e *NotFoundError) Error() string { return "kernel module " + e.Name + " not found" }

// Resolve returns the files to load for a module in order: everything that it depends on before it, soft dependencies included
// where they exist. A module built into the kernel needs nothing.
func (x *Index) Resolve(name string) ([]Module, error) {
	var out []Module
	return out, x.resolve(NameOf(name), false, map[string]bool{}, &out)
}

func (x *Index) resolve(name string, soft bool, seen map[string]bool, out *[]Module) error {
	if seen[name] || x.builtin[name] {
		return nil
	}
	seen[name] = true
	m, ok := x.deps[name]
	if !ok {
		if soft {
			return nil
		}
		return &NotFoundError{Name: name}
	}
	for _, n := range x.soft[name].pre {
		if err := x.resolve(n, true, seen, out); err != nil {
			return err
		}
	}
	// modules.dep lists the nearest dependency first and is transitive already.
	for _, v := range slices.Backward(m.deps) {
		if err := x.resolve(NameOf(v), soft, seen, out); err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	file := m.file
	if x.dir != "" && !path.IsAbs(file) {
		file = path.Join(x.dir, file)
	}
	*out = append(*out, Module{Name: name, File: file, Soft: soft})
	for _, n := range x.soft[name].post {
		if err := x.resolve(n, true, seen, out); err != nil {
			return err
		}
	}
	return nil
}
