package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// AsideDir is where files are kept that no history has and that were in the way, once the generation is over by which they had to go.
func (a *Applier) AsideDir() string { return filepath.Join(a.o.Staging, asideDir) }

// EmptyAside deletes what was put aside before t, and tells how many that were. It may be called at any time, by any goroutine.
func (a *Applier) EmptyAside(t time.Time) (n int, err error) {
	list, err := os.ReadDir(a.AsideDir())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at what was put aside: %w", err)
	}
	for _, e := range list {
		fi, err2 := e.Info()
		if errors.Is(err2, fs.ErrNotExist) {
			continue
		}
		if err2 == nil {
			// Moving it there has set its change time; what lies in it is as old as it was.
			if st, ok := fi.Sys().(*syscall.Stat_t); !ok || !time.Unix(st.Ctim.Unix()).Before(t) {
				continue
			}
			err2 = os.RemoveAll(filepath.Join(a.AsideDir(), e.Name()))
		}
		if err2 != nil {
			err = errors.Join(err, fmt.Errorf("delete what was put aside: %w", err2))
			continue
		}
		n++
	}
	return n, err
}
