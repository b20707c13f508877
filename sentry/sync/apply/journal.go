package apply

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"sayasystems.com/atlas/sentry/sync/state"
)

// verb of a step.
type verb string

const (
	put     verb = "put"     // what is in the slot becomes live, and what was live goes into the slot
	remove  verb = "remove"  // what is live goes into the slot
	dress   verb = "dress"   // a directory gets the attributes of the one in the slot; those that it had are in SLOT.old
	maxStep      = 4_000_000 // steps of one journal; a tree of a million files stays below
)

// step is one movement. Its slot is named by its number.
type step struct {
	Do    verb      `json:"do"`
	Path  rawPath   `json:"path"`
	Old   uint64    `json:"old,omitempty"`   // inode that was live; 0 = none
	Was   *times    `json:"was,omitempty"`   // of a file that was live, when it was looked at
	New   uint64    `json:"new,omitempty"`   // inode of what is put
	Mtime int64     `json:"mtime,omitempty"` // and its time of change and size, by which an edit since is known
	Size  int64     `json:"size,omitempty"`
	Below []rawPath `json:"below,omitempty"` // tracked paths that go along in the directory that was live
}

// times tell whether a file was edited since.
type times struct {
	Mtime int64 `json:"mtime"`
	Size  int64 `json:"size"`
}

// rawPath is a path in JSON: base64, since names may hold any byte.
type rawPath state.Path

func (p rawPath) MarshalJSON() ([]byte, error) { return json.Marshal([]byte(p)) }

func (p *rawPath) UnmarshalJSON(data []byte) error {
	var b []byte
	if err := json.Unmarshal(data, &b); err != nil {
		return err
	}
	*p = rawPath(b)
	return nil
}

type journal struct {
	Version int    `json:"version"`
	Steps   []step `json:"steps"`
}

// journalVersion is raised when an older program could not finish a newer one's journal.
const journalVersion = 1

// encode makes a line of JSON and a line with its checksum.
func (j journal) encode() ([]byte, error) {
	j.Version = journalVersion
	data, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	return append(append(data, '\n'), hex.EncodeToString(sum[:])+"\n"...), nil
}

// parseJournal reads what encode wrote, and nothing else.
func parseJournal(data []byte) (journal, error) {
	var j journal
	line, sum, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return j, errors.New("it has no checksum")
	}
	want := sha256.Sum256(line)
	if string(sum) != hex.EncodeToString(want[:])+"\n" {
		return j, errors.New("its checksum is wrong")
	}
	return decodeJournal(line)
}

func decodeJournal(line []byte) (journal, error) {
	var j journal
	if err := json.Unmarshal(line, &j); err != nil {
		return journal{}, err
	}
	if j.Version != journalVersion {
		return journal{}, fmt.Errorf("it has version %d; this program knows %d", j.Version, journalVersion)
	}
	if len(j.Steps) > maxStep {
		return journal{}, fmt.Errorf("it has %d steps", len(j.Steps))
	}
	for i, s := range j.Steps {
		if err := state.Path(s.Path).Check(); err != nil {
			return journal{}, fmt.Errorf("step %d: %w", i, err)
		}
		if s.Do != put && s.Do != remove && s.Do != dress || s.Do == put && s.New == 0 || s.Do == remove && s.Old == 0 {
			return journal{}, fmt.Errorf("step %d makes no sense", i)
		}
		for _, b := range s.Below {
			if err := state.Path(b).Check(); err != nil {
				return journal{}, fmt.Errorf("step %d: %w", i, err)
			}
			if b == s.Path || !state.Path(b).Under(state.Path(s.Path)) {
				return journal{}, fmt.Errorf("step %d: %s does not lie below %s", i, b, s.Path)
			}
		}
	}
	return j, nil
}
