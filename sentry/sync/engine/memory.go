package engine

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"sayasystems.com/atlas/image/siteconf"
)

// remembered reads a commit's name from the Synchronizer's folder; "" if none is there.
func (e *Engine) remembered(file string) string {
	var id string
	if !e.recall(file, &id) {
		return ""
	}
	return id
}

// recall reads what remember wrote.
func (e *Engine) recall(file string, v any) bool {
	data, err := os.ReadFile(filepath.Join(e.cfg.Dir, file))
	return err == nil && json.Unmarshal(data, v) == nil
}

// remember keeps something in the Synchronizer's folder, durably.
func (e *Engine) remember(file string, v any) {
	data, err := json.Marshal(v)
	if err == nil {
		err = siteconf.WriteFile(filepath.Join(e.cfg.Dir, file), data, 0o600)
	}
	if err != nil {
		e.log.Warn("not remembered", "what", file, "err", err) // found out again after a restart
	}
}

// rememberSoon is remember for what can be found out again, at the cost of some work: nobody waits for it.
func (e *Engine) rememberSoon(file, id string) { e.unsaved[file] = id }

// save remembers what was to be remembered soon.
func (e *Engine) save() {
	for file, id := range e.unsaved {
		e.remember(file, id)
	}
	clear(e.unsaved)
}

func (e *Engine) forget(file string) {
	if err := os.Remove(filepath.Join(e.cfg.Dir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.log.Warn("not forgotten", "what", file, "err", err)
	}
}
