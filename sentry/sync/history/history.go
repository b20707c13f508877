// Package history is the repository of recorded states on a disk set: every state that the Synchronizer noticed, with who made it, for ever.
//
// It is a git repository (DIR/repo.git, bare), so that git can read it wherever the disks end up. It is written in this process with parts of
// go-git (hashes, deltas, pack indexes); finding objects, packs and commits are done here, since go-git's storage flushes nothing and reads
// under one lock, and since its object package brings OpenPGP along.
//
// How data flows: Record takes edits from the snapshot of what is there now, makes git's objects of the directories on the way (never of the
// whole tree), and lays them with the branch's new head as one record into DIR/journal. One flush, and the commit is durable. From there
// records are settled in bulk, in the background, into a packfile and packed-refs; then the journal begins anew. Git itself sees what has been
// settled (Settle). Export and Import carry commits between servers, as git packs.
//
// A directory is a git tree. What git does not keep (owners by name, modes, extended attributes, hard links, directories that are empty)
// stands in the file ".atlas" of the directory that holds the entry; the root itself has no attributes. Names that git refuses are escaped.
//
// What it will not do: look at files (the caller reads them), know what is secret (Hide), decide what travels, merge, or repair. Something that
// cannot be read back is a *DamagedError; the caller sets the folder aside, and recording begins anew.
package history

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Options of Open.
type Options struct {
	Server  string           // that commits are made on
	Now     func() time.Time // time.Now if nil
	MaxFile int64            // the largest file that is recorded; 128 MiB if 0

	// journal is how many bytes are prepared for it, and settleAt how many of them are used before it is settled; -1: by Settle only. step is
	// called before each step of settling and packing; an error from it stops there, like a power cut. All three are for tests.
	journal  int64
	settleAt int64
	step     func(name string) error
}

const (
	journalArea = 4 << 20
	packsDue    = 12
)

// Repo is an open history. Its functions may be called at the same time; those that write wait for each other, those that read wait for nobody.
type Repo struct {
	dir  string
	opt  Options
	lock *os.File

	wmu     sync.Mutex // held by who writes
	journal *journal
	z       deflater
	store   *store

	mu       sync.RWMutex
	heads    map[state.Branch]plumbing.Hash
	tops     map[state.Branch]state.Commit // the commits of heads, so that Head never has to read
	moved    bool                          // a branch was put elsewhere than on top of itself while Pack runs
	trouble  error                         // of the last settling in the background
	settling bool
	closed   bool
	jobs     sync.WaitGroup

	dirs    *dirCache
	commits *commitCache
}

// Open opens the history in dir, or makes it. ErrInUse if another process has it; *DamagedError if it cannot be read.
func Open(dir string, opt Options) (*Repo, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.MaxFile <= 0 {
		opt.MaxFile = 128 << 20
	}
	if opt.journal == 0 {
		opt.journal = journalArea
	}
	if opt.settleAt == 0 {
		opt.settleAt = opt.journal * 3 / 4
	}
	opt.Server = strings.ToValidUTF8(opt.Server, "?")
	r := &Repo{dir: dir, opt: opt, heads: map[state.Branch]plumbing.Hash{}, tops: map[state.Branch]state.Commit{}, dirs: newDirCache(32 << 20), commits: newCommitCache()}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	var err error
	if r.lock, err = os.Open(dir); err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	if err := unix.Flock(int(r.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		r.lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, fmt.Errorf("open the history in %s: %w", dir, err)
	}
	if err := r.open(); err != nil {
		r.lock.Close()
		return nil, err
	}
	return r, nil
}

func (r *Repo) git() string { return filepath.Join(r.dir, "repo.git") }

func (r *Repo) journalPath() string { return filepath.Join(r.dir, "journal") }

func (r *Repo) open() error {
	records, err := r.openFiles()
	if err != nil {
		return err
	}
	if err := r.readRefs(); err != nil {
		return err
	}
	for i, rec := range records {
		err := decodeRecord(rec, func(b state.Branch, h plumbing.Hash) {
			if r.heads[b] = h; h.IsZero() {
				delete(r.heads, b)
			}
		}, func(h plumbing.Hash, o object) {
			if _, ok := r.store.mem[h]; !ok {
				r.store.order = append(r.store.order, h)
			}
			r.store.mem[h] = o
		})
		if err != nil {
			return &DamagedError{Where: r.journalPath(), What: fmt.Sprintf("record %d cannot be read", i+1), Err: err}
		}
	}
	for b, h := range r.heads {
		c, err := r.commit(h)
		if err == nil {
			_, err = r.loadDir(c.tree)
		}
		if err != nil {
			return &DamagedError{Where: "line " + string(b), What: "its newest state cannot be read", Err: err}
		}
		r.tops[b] = c.Commit
	}
	return nil
}

// openFiles makes the folder what it has to be, the journal last: a folder with a journal is a whole one.
func (r *Repo) openFiles() ([][]byte, error) {
	var records [][]byte
	var err error
	r.journal, records, err = openJournal(r.journalPath())
	if errors.Is(err, fs.ErrNotExist) {
		if _, e := os.Stat(filepath.Join(r.git(), "packed-refs")); e == nil {
			return nil, &DamagedError{Where: r.journalPath(), What: "the journal of the last changes is missing"}
		}
		if err := r.create(); err != nil {
			return nil, fmt.Errorf("make the history in %s: %w", r.dir, err)
		}
		r.journal, err = newJournal(r.journalPath(), r.opt.journal)
	}
	if err != nil {
		return nil, err
	}
	packs := filepath.Join(r.git(), "objects", "pack")
	r.store, err = openStore(packs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamagedError{Where: packs, What: "the folder of settled states is missing"}
	}
	return records, err
}

func (r *Repo) create() error {
	for _, d := range []string{"objects/pack", "objects/info", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(r.git(), d), 0o700); err != nil {
			return err
		}
	}
	files := map[string]string{
		"HEAD":   "ref: refs/heads/site\n",
		"config": "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n[gc]\n\tauto = 0\n",
		"description": "Recorded states of a server's configuration, written by ATLAS. The newest ones are in ../journal.\n" +
			"Read it with git as you like; write nothing into it.\n",
	}
	for name, text := range files {
		if err := replaceFile(filepath.Join(r.git(), name), []byte(text)); err != nil {
			return err
		}
	}
	for _, d := range []string{"objects", "refs", ".", ".."} {
		if err := syncDir(filepath.Join(r.git(), d)); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(filepath.Clean(r.dir)))
}

func (r *Repo) readRefs() error {
	heads, err := readRefs(filepath.Join(r.git(), "packed-refs"))
	maps.Copy(r.heads, heads)
	return err
}

func readRefs(path string) (map[state.Branch]plumbing.Hash, error) {
	b, err := readDisk(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the settled lines: %w", err)
	}
	heads := map[state.Branch]plumbing.Hash{}
	for line := range bytes.Lines(b) {
		s := strings.TrimSuffix(string(line), "\n")
		if strings.HasPrefix(s, "#") {
			continue
		}
		id, name, _ := strings.Cut(s, " refs/heads/")
		if !isID(id) || checkBranch(state.Branch(name)) != nil {
			return nil, &DamagedError{Where: path, What: fmt.Sprintf("the line %.80q", s)}
		}
		heads[state.Branch(name)] = plumbing.NewHash(id)
	}
	return heads, nil
}

func (r *Repo) writeRefs() error {
	var b bytes.Buffer
	b.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	r.mu.RLock()
	heads := maps.Clone(r.heads)
	r.mu.RUnlock()
	for _, name := range slices.Sorted(maps.Keys(heads)) {
		fmt.Fprintf(&b, "%s refs/heads/%s\n", heads[name], name)
	}
	return replaceFile(filepath.Join(r.git(), "packed-refs"), b.Bytes())
}

var branchName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,99}$`)

func checkBranch(b state.Branch) error {
	if !branchName.MatchString(string(b)) {
		return fmt.Errorf("line %.80q: its name must be small letters, digits and hyphens", string(b))
	}
	return nil
}

// publish lets readers see a new head; the zero hash removes the branch.
func (r *Repo) publish(b state.Branch, h plumbing.Hash, c state.Commit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.IsZero() {
		delete(r.heads, b)
		delete(r.tops, b)
		return
	}
	r.heads[b], r.tops[b] = h, c
}

// Lines lists the branches that match, by name.
func (r *Repo) Lines(match func(state.Branch) bool) []state.Branch {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []state.Branch
	for b := range r.heads {
		if match(b) {
			out = append(out, b)
		}
	}
	slices.Sort(out)
	return out
}

func (r *Repo) head(b state.Branch) (plumbing.Hash, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	h, ok := r.heads[b]
	return h, ok
}

// Close waits for what goes on in the background and gives the folder free. What was recorded stays in the journal if it was not settled.
func (r *Repo) Close() error {
	r.wmu.Lock()
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	r.wmu.Unlock()
	if closed {
		return nil
	}
	r.jobs.Wait()
	err := r.journal.close()
	for _, p := range r.store.packs {
		err = errors.Join(err, p.f.Close())
	}
	return errors.Join(err, r.lock.Close())
}

// SetAside renames the folder of a damaged history, with the date, and tells its new name. Nothing is ever deleted.
func SetAside(dir string, now time.Time) (string, error) {
	base := filepath.Clean(dir) + ".damaged-" + now.UTC().Format("2006-01-02T15-04-05")
	for i := range 100 {
		to := base
		if i > 0 {
			to = fmt.Sprintf("%s-%d", base, i)
		}
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		if err := os.Rename(dir, to); err != nil {
			return "", fmt.Errorf("set the damaged history aside: %w", err)
		}
		return to, syncDir(filepath.Dir(to))
	}
	return "", fmt.Errorf("set the damaged history %s aside: too many were set aside already", dir)
}
