package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Names in the staging folder. A generation's state is the name of its journal: without one it is being staged, and of no account.
const (
	genPrefix   = "generation-"
	trashPrefix = "trash-" // a generation that is being deleted
	asideDir    = "aside"

	journalTmp  = "journal.tmp"
	journalOn   = "journal"      // decided: to be finished
	journalBack = "journal.back" // to be taken back
	journalDone = "journal.done" // live
)

func resolved(dir string) (string, error) { return filepath.EvalSymlinks(dir) }

// numbers lists the generations in the staging folder, oldest first.
func (a *Applier) numbers() ([]uint64, error) {
	names, err := a.entries()
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, n := range names {
		if digits, ok := strings.CutPrefix(n, genPrefix); ok {
			if v, err := strconv.ParseUint(digits, 10, 63); err == nil {
				out = append(out, v)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

func (a *Applier) entries() ([]string, error) {
	list, err := os.ReadDir(a.o.Staging)
	if err != nil {
		return nil, fmt.Errorf("staging folder: %w", err)
	}
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = e.Name()
	}
	return out, nil
}

func genName(n uint64) string   { return fmt.Sprintf("%s%08d", genPrefix, n) }
func trashName(n uint64) string { return fmt.Sprintf("%s%08d", trashPrefix, n) }

// generation makes a new one.
func (a *Applier) generation() (*Generation, error) {
	have, err := a.numbers()
	if err != nil {
		return nil, err
	}
	n := uint64(1)
	if len(have) > 0 {
		n = have[len(have)-1] + 1
	}
	for ; ; n++ { // one that could not be deleted keeps its number
		if _, err := os.Lstat(filepath.Join(a.o.Staging, trashName(n))); err != nil {
			break
		}
	}
	g := &Generation{Number: n, a: a, name: genName(n)}
	if err := a.cut("mkdir", g.name); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(a.o.Staging, g.name), 0o700); err != nil {
		return nil, a.named(state.Path(g.name), err)
	}
	g.dir, err = openDir(a.staging, g.name)
	return g, err
}

// load opens a generation of an earlier run, with its journal if it has one.
func (a *Applier) load(n uint64) (*Generation, string, journal, error) {
	g := &Generation{Number: n, a: a, name: genName(n)}
	var err error
	if g.dir, err = openDir(a.staging, g.name); err != nil {
		return nil, "", journal{}, fmt.Errorf("generation %d: %w", n, err)
	}
	mark, j, err := a.readJournal(g.name)
	if err != nil {
		g.dir.Close()
		return nil, "", j, err
	}
	return g, mark, j, nil
}

func (a *Applier) readJournal(dir string) (string, journal, error) {
	for _, mark := range []string{journalOn, journalBack, journalDone} {
		file := filepath.Join(a.o.Staging, dir, mark)
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", journal{}, fmt.Errorf("journal: %w", err)
		}
		j, err := parseJournal(data)
		if err != nil {
			return "", j, &JournalError{file, err}
		}
		return mark, j, nil
	}
	return "", journal{}, nil
}

// mark gives a generation another state, durably.
func (g *Generation) mark(from, to string) error {
	if err := g.a.move(g.dir, from, g.dir, to, 0); err != nil {
		return fmt.Errorf("generation %d: %w", g.Number, err)
	}
	return g.a.sync(g.dir, g.name)
}

// decide writes the journal, when all that it tells of is on the disk. When it returns, the generation will be live, whatever happens.
func (g *Generation) decide(j journal) error {
	data, err := j.encode()
	if err != nil {
		return err
	}
	if err := g.a.cut("write", journalTmp); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(g.a.o.Staging, g.name, journalTmp), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = g.durable(named{f, journalTmp}, named{g.a.staging, "staging"}) // the name of the generation must not be lost where its steps are not
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return g.a.named("journal", err)
	}
	return g.mark(journalTmp, journalOn)
}

// drop deletes a generation that is not needed any more: what it holds is in a history, but for what is kept aside. From the rename on it is
// none any more; what then cannot be deleted is told, and tried again by Recover.
func (a *Applier) drop(n uint64) error {
	trash := trashName(n)
	if err := a.move(a.staging, genName(n), a.staging, trash, unix.RENAME_NOREPLACE); err != nil {
		return fmt.Errorf("generation %d: %w", n, err)
	}
	a.dispose(trash)
	return nil
}

func (a *Applier) dispose(trash string) {
	if err := a.empty(trash); err != nil {
		a.o.Log.Warn("what is not needed any more cannot be deleted", "in", filepath.Join(a.o.Staging, trash), "err", err)
	}
}

// empty deletes what drop has put away.
func (a *Applier) empty(trash string) error {
	_, j, err := a.readJournal(trash)
	if err != nil {
		return err
	}
	dir, err := openDir(a.staging, trash)
	if err != nil {
		return fmt.Errorf("%s: %w", trash, err)
	}
	defer dir.Close()
	for i, s := range j.Steps {
		slot := strconv.Itoa(i)
		id, err := lstat(dir, slot)
		if err != nil {
			return fmt.Errorf("%s: %w", trash, err)
		}
		if s.Do == dress || !id.isDir() {
			continue
		}
		if err := a.settle(dir, slot, s, trash); err != nil {
			return fmt.Errorf("%s: %w", trash, err)
		}
	}
	if err := a.cut("delete", trash); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(a.o.Staging, trash))
}

// settle deletes of a directory that had to go what was tracked in it, and keeps the rest aside.
func (a *Applier) settle(dir *os.File, slot string, s step, trash string) error {
	if err := a.cut("settle", slot); err != nil {
		return err
	}
	for _, b := range slices.Backward(s.Below) { // the order of paths: what is in a directory comes after it
		rel := slot + strings.TrimPrefix(string(b), string(s.Path))
		if err := unlink(dir, rel); err != nil {
			return err
		}
	}
	if err := unlink(dir, slot); err != nil {
		return err
	}
	if id, err := lstat(dir, slot); err != nil || id.Ino == 0 {
		return err
	}
	if err := os.MkdirAll(filepath.Join(a.o.Staging, asideDir), 0o700); err != nil {
		return err
	}
	aside, err := openDir(a.staging, asideDir)
	if err != nil {
		return err
	}
	defer aside.Close()
	base := state.Path(s.Path).Base()
	for try := 0; ; try++ {
		as := fmt.Sprintf("%s.%s.%d.%s", strings.TrimPrefix(trash, trashPrefix), slot, try, base[:min(len(base), 180)])
		err := a.move(dir, slot, aside, as, unix.RENAME_NOREPLACE)
		if err == nil {
			a.o.Log.Warn("files that no history has are kept aside", "path", string(s.Path), "in", filepath.Join(a.o.Staging, asideDir, as))
			return a.sync(aside, asideDir)
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// unlink removes a file or an empty directory. What is not there, and a directory that still holds something, is no error. Somebody may still
// work in the directory that was moved here: so no link is followed.
func unlink(dir *os.File, rel string) error {
	parent, err := openBeneath(dir, path.Dir(rel))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	err = unix.Unlinkat(int(parent.Fd()), path.Base(rel), 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(int(parent.Fd()), path.Base(rel), unix.AT_REMOVEDIR)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return err
}
