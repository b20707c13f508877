// Package accept keeps which findings an administrator has accepted for a time: who, why, until when.
//
// Data flow: every server keeps the site's whole list in a Book on its own state partition, where it is with and without a disk set; the servers
// tell each other theirs in their reports, and Merge takes in what is newer. So each of them knows it after any of them has died. What an
// acceptance means for readiness is for package site to say.
package accept

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/image/siteconf"
)

// Acceptance of one finding.
type Acceptance struct {
	Finding  string    `json:"finding"`  // ID
	Severity string    `json:"severity"` // that it had: one that has become worse is not accepted
	What     string    `json:"what"`     // its words then
	Who      string    `json:"who"`
	Why      string    `json:"why"`
	Server   string    `json:"server"` // where it was accepted
	At       time.Time `json:"at"`
	Until    time.Time `json:"until"`
	Ended    time.Time `json:"ended,omitzero"` // a person took it back
	EndedBy  string    `json:"ended_by,omitempty"`
}

// Limits.
const (
	Longest   = 90 * 24 * time.Hour // what is to be so for longer is to be mended
	keepEnded = 14 * 24 * time.Hour // for the list, and so that a server that was off does not bring it back
	most      = 500
)

// Standing tells whether it counts at now.
func (a Acceptance) Standing(now time.Time) bool { return a.Ended.IsZero() && now.Before(a.Until) }

// changed is when a person last did something to it.
func (a Acceptance) changed() time.Time {
	if a.Ended.After(a.At) {
		return a.Ended
	}
	return a.At
}

// Check tells what is wrong with one that somebody wants.
func (a Acceptance) Check(now time.Time) error {
	switch {
	case strings.TrimSpace(a.Finding) == "":
		return errors.New("which finding? `atlas findings` lists them with their names")
	case strings.TrimSpace(a.Why) == "":
		return errors.New("why? Say it with --why: others will want to know")
	case len(a.Why) > 500 || len(a.Finding) > 500:
		return errors.New("that is too long; say it in a few words")
	case !a.Until.After(now):
		return errors.New("it must end in the future: --until 24h, or a day such as 2026-12-01")
	case a.Until.Sub(now) > Longest:
		return fmt.Errorf("it can be accepted for %d days at most; what stays for longer is better mended", int(Longest.Hours()/24))
	}
	return nil
}

// Book is the site's list as one server keeps it.
type Book struct {
	path string
	mu   sync.Mutex
	list []Acceptance // one of each finding, the oldest first
}

// Open reads the list at path. One that cannot be read is begun anew: then nothing is accepted, and the error tells of it.
func Open(path string) (*Book, error) {
	b := &Book{path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &b.list)
	}
	if err != nil {
		b.list = nil
		return b, fmt.Errorf("which findings were accepted cannot be read; none is now: %w", err)
	}
	return b, nil
}

// Accept takes one in, in place of an earlier one of the same finding.
func (b *Book) Accept(a Acceptance) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.list, func(o Acceptance) bool { return o.Finding == a.Finding }); i >= 0 {
		a.At = after(a.At, b.list[i].changed())
	}
	b.put(a)
	return b.save()
}

// after is t, or right after last: what a person does here comes after what this server knows, also if another server's clock is ahead.
func after(t, last time.Time) time.Time {
	if !t.After(last) {
		return last.Add(time.Millisecond)
	}
	return t
}

// End takes an acceptance back.
func (b *Book) End(finding, who string, now time.Time) (Acceptance, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.list, func(a Acceptance) bool { return a.Finding == finding && a.Standing(now) })
	if i < 0 {
		return Acceptance{}, fmt.Errorf("%.80q is not accepted now; `atlas accept --list` lists what is", finding)
	}
	b.list[i].Ended, b.list[i].EndedBy = after(now, b.list[i].At), who
	return b.list[i], b.save()
}

// Merge takes in what another server knows and this one does not. It returns whether that was anything.
func (b *Book) Merge(list []Acceptance, now time.Time) (news bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range list {
		i := slices.IndexFunc(b.list, func(o Acceptance) bool { return o.Finding == a.Finding })
		if a.Finding == "" || forgotten(a, now) || i >= 0 && !a.changed().After(b.list[i].changed()) {
			continue
		}
		b.put(a)
		news = true
	}
	if !news {
		return false, nil
	}
	return true, b.save()
}

// List gives all that is remembered, the newest first.
func (b *Book) List() []Acceptance {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Clone(b.list)
	slices.Reverse(out)
	return out
}

func (b *Book) put(a Acceptance) {
	b.list = slices.DeleteFunc(b.list, func(o Acceptance) bool { return o.Finding == a.Finding })
	b.list = append(b.list, a)
	now := time.Now()
	b.list = slices.DeleteFunc(b.list, func(o Acceptance) bool { return forgotten(o, now) && o.Finding != a.Finding })
	if n := len(b.list) - most; n > 0 {
		b.list = slices.Delete(b.list, 0, n)
	}
}

func forgotten(a Acceptance, now time.Time) bool {
	end := a.Until
	if !a.Ended.IsZero() && a.Ended.Before(end) {
		end = a.Ended
	}
	return now.Sub(end) > keepEnded
}

func (b *Book) save() error {
	data, err := json.Marshal(b.list)
	if err == nil {
		err = siteconf.WriteFile(b.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep which findings are accepted: %w", err)
	}
	return nil
}
