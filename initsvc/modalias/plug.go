package modalias

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
)

// Loader loads one module file into the kernel. Loading a module that is there already is no error.
type Loader interface {
	Load(file string) error
}

// Plug loads the modules for the devices below Sys. It remembers what it has tried, so that a further Run costs little. Its
// methods may be called concurrently.
type Plug struct {
	Index  *Index
	Loader Loader
	Sys    string       // "/sys/devices" if empty
	Skip   []string     // patterns of module names (see Glob) that no device gets; a module that needs one still does
	Log    *slog.Logger // nil: no log

	mu     sync.Mutex
	seen   map[string]bool  // modaliases already looked at
	done   map[string]bool  // modules loaded by this Plug
	failed map[string]error // modules that would not load
}

// Run loads modules for all devices and, since drivers make new devices appear, looks again until nothing new is found. It
// returns the names of the modules that it loaded, in order. An error tells only of the index or of ctx; modules that do not
// load are logged and in Failed.
func (p *Plug) Run(ctx context.Context) ([]string, error) {
	var all []string
	for range maxRounds {
		aliases, err := Aliases(p.sys())
		if err != nil {
			return all, err
		}
		loaded, err := p.Load(ctx, aliases...)
		all = append(all, loaded...)
		if err != nil || len(loaded) == 0 {
			return all, err
		}
	}
	return all, nil
}

// maxRounds bounds Run: each round needs a new layer of buses, and there are never that many.
const maxRounds = 16

// Load loads the modules for the given modaliases, module aliases or module names; those seen before are not tried again.
func (p *Plug) Load(ctx context.Context, aliases ...string) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen, p.done, p.failed = map[string]bool{}, map[string]bool{}, map[string]error{}
	}
	var loaded []string
	for _, a := range aliases {
		if p.seen[a] {
			continue
		}
		p.seen[a] = true
		for _, name := range p.Index.Match(a) {
			if p.skipped(name) && NameOf(a) != name {
				continue
			}
			if err := ctx.Err(); err != nil {
				return loaded, fmt.Errorf("load modules: %w", err)
			}
			loaded = append(loaded, p.load(name)...)
		}
	}
	return loaded, nil
}

func (p *Plug) skipped(name string) bool {
	for _, pattern := range p.Skip {
		if Glob(pattern, name) {
			return true
		}
	}
	return false
}

// Failed returns the modules that did not load, by name.
func (p *Plug) Failed() map[string]error {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]error, len(p.failed))
	maps.Copy(out, p.failed)
	return out
}

func (p *Plug) load(name string) []string {
	if p.done[name] || p.failed[name] != nil {
		return nil
	}
	var loaded []string
	mods, err := p.Index.Resolve(name)
	for _, m := range mods {
		if p.done[m.Name] {
			continue
		}
		if p.failed[m.Name] != nil {
			if m.Soft {
				continue
			}
			err = p.failed[m.Name]
			break
		}
		if lerr := p.Loader.Load(m.File); lerr != nil {
			p.failed[m.Name] = lerr
			if !m.Soft {
				err = lerr
				break
			}
			continue
		}
		p.done[m.Name] = true
		loaded = append(loaded, m.Name)
	}
	if err != nil {
		p.failed[name] = err
		if p.Log != nil {
			p.Log.Warn("kernel module not loaded", "module", name, "err", err)
		}
	}
	return loaded
}

func (p *Plug) sys() string {
	if p.Sys != "" {
		return p.Sys
	}
	return "/sys/devices"
}

// barren are directories below /sys/devices that hold many entries and never a modalias.
var barren = map[string]bool{
	"power": true, "statistics": true, "queues": true, "msi_irqs": true, "memory": true, "workqueue": true,
	"mq": true, "queue": true, "trace": true, "integrity": true, "link": true, "hwmon": true, "clockevents": true,
}

// Aliases returns the modaliases of all devices below sys, each once, sorted. Devices that vanish meanwhile are left out.
func Aliases(sys string) ([]string, error) {
	seen := map[string]bool{}
	err := filepath.WalkDir(sys, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && path == sys:
			return err
		case err != nil:
			return nil // vanished
		case d.IsDir() && barren[d.Name()]:
			return fs.SkipDir
		case d.Name() == "modalias":
			if data, err := os.ReadFile(path); err == nil {
				if a := strings.TrimSpace(string(data)); a != "" {
					seen[a] = true
				}
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read modaliases: %w", err)
	}
	out := make([]string, 0, len(seen))
	for a := range seen {
		out = append(out, a)
	}
	sort.Strings(out)
	return out, nil
}
