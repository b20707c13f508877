package supervise

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
)

// stampDir keeps, on the disk set, what each step that watches something saw when it last succeeded.
const stampDir = "/var/lib/atlas/steps"

// folder is the content of a pack's folder, read once: it belongs to the image.
type folder struct {
	once sync.Once
	sum  string
	err  error
}

func (f *folder) hash(dir string) (string, error) {
	f.once.Do(func() {
		h := sha256.New()
		f.err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(dir, path)
			fmt.Fprintf(h, "%s %d\n", rel, len(data))
			_, _ = h.Write(data)
			return err
		})
		f.sum = hex.EncodeToString(h.Sum(nil))
	})
	return f.sum, f.err
}

// seen is what the step depends on as it is now: the image, the pack, the command with all that it names of the site, and the paths
// that it watches. Files count by size and time, directories by owner and mode.
func (s *Service) seen(st pack.Step, args []string) (string, error) {
	sum, err := s.folder.hash(s.pack.Dir)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", s.sup.opts.Version, sum, strings.Join(args, "\x00"))
	for _, w := range st.Watch {
		path, err := s.sup.opts.Expand(w, s.vars)
		if err != nil {
			return "", err
		}
		info, err := os.Stat(filepath.Join(s.sup.opts.Root, path))
		if errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(h, "%s missing\n", path)
			continue
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %s", path, info.Mode())
		if sys, ok := info.Sys().(*syscall.Stat_t); ok {
			fmt.Fprintf(h, " %d %d", sys.Uid, sys.Gid)
		}
		if !info.IsDir() {
			fmt.Fprintf(h, " %d %d", info.Size(), info.ModTime().UnixNano())
		}
		fmt.Fprintln(h)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (s *Service) stampFile(st pack.Step) string {
	sum := sha256.Sum256([]byte(st.Name))
	return filepath.Join(s.sup.opts.Root, stampDir, s.pack.Name, hex.EncodeToString(sum[:8]))
}

// unchanged tells whether the step succeeded before on this disk set and nothing that it depends on is different. When the service is started
// by hand, it never is: a person expects everything to be put right then.
func (s *Service) unchanged(st pack.Step, args []string) bool {
	if len(st.Watch) == 0 || s.starts > 1 {
		return false
	}
	now, err := s.seen(st, args)
	if err != nil {
		return false
	}
	old, err := os.ReadFile(s.stampFile(st))
	return err == nil && string(old) == now
}

// stamp notes that the step has succeeded. Without the note it is only run again.
func (s *Service) stamp(st pack.Step, args []string) {
	if len(st.Watch) == 0 {
		return
	}
	now, err := s.seen(st, args) // afterwards: it may have made what it watches
	if err == nil {
		file := s.stampFile(st)
		if err = os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
			err = siteconf.WriteFile(file, []byte(now), 0o600)
		}
	}
	if err != nil {
		s.sup.opts.Log.Warn("step will be run again at the next start", "service", s.pack.Name, "step", st.Name, "err", err)
	}
}
