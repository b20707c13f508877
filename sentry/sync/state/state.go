// Package state is the language that the parts of the Synchronizer share: what a file is (Entry), what happened to it (Change), who did it
// (Who), and a recorded step of history (Commit).
//
// Data flow of the Synchronizer, each arrow a package of its own below sentry/sync:
//
//	watch (events with their author) → snapshot (what is there now) → history (durable commit) → gate (does the service still take
//	it?) → carry (to each peer, mutual TLS) → history there → convert → apply (staged, checked, journaled, live, reloaded) → report
//
// This package does no I/O.
package state

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Path is a file's path below the root of the filesystem without a leading slash: "etc/passwd". Any byte but NUL may occur in it; it is
// clean: no empty, "." or ".." elements. What is configured inside a database stands below Exports: "@db/postgresql/roles.sql".
type Path string

// Exports is the first element of the paths of what packs dump from databases.
const Exports = "@db"

// Check tells what is wrong with a path that came from outside.
func (p Path) Check() error {
	if p == "" || len(p) > 4096 || strings.ContainsRune(string(p), 0) {
		return fmt.Errorf("path %q is empty, too long or holds a zero byte", clip(string(p)))
	}
	for e := range strings.SplitSeq(string(p), "/") {
		if e == "" || e == "." || e == ".." || len(e) > 255 {
			return fmt.Errorf("path %q has an empty, too long or relative part", clip(string(p)))
		}
	}
	return nil
}

// Under tells whether p is dir or lies below it.
func (p Path) Under(dir Path) bool {
	return p == dir || strings.HasPrefix(string(p), string(dir)+"/")
}

// Dir is the directory that p lies in, "" for a top one.
func (p Path) Dir() Path {
	if i := strings.LastIndexByte(string(p), '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

// Base is the last element of p.
func (p Path) Base() string { return string(p[strings.LastIndexByte(string(p), '/')+1:]) }

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// Kind of an entry.
type Kind byte

// Kinds. Sockets, FIFOs and devices are no configuration: they are told as findings and never travel.
const (
	File Kind = 'f'
	Dir  Kind = 'd'
	Link Kind = 'l' // symbolic
)

// Hash names content: the SHA-1 of git's blob, in hex (the repository is git's); "" for what has none.
type Hash string

// Entry is all of a file but its bytes. Owners are names, since numbers may differ between servers; a number without a name is "#123".
// Times are left out: to touch a file is no change.
type Entry struct {
	Kind   Kind
	Mode   uint32 // permission bits with setuid, setgid and sticky, as in chmod(2); 0777 for links
	Owner  string
	Group  string
	Target string // of a link
	Size   int64  // of a file
	Data   Hash   // of a file
	// Hard is the smallest path of those tracked that are the same file as this one; "" for files with one name, and for that path itself.
	Hard Path
	// Xattrs holds extended attributes by name: user.*, security.capability, and ACLs as text with names under "system.posix_acl_access"
	// and "system.posix_acl_default" ("user::rw-,user:anna:r--,mask::r--,group::r--,other::---"). Nil if none.
	Xattrs map[string]string
}

// Equal tells whether two entries are the same in all that is kept.
func (e Entry) Equal(o Entry) bool {
	if e.Kind != o.Kind || e.Mode != o.Mode || e.Owner != o.Owner || e.Group != o.Group || e.Target != o.Target || e.Data != o.Data ||
		e.Hard != o.Hard || len(e.Xattrs) != len(o.Xattrs) {
		return false
	}
	for k, v := range e.Xattrs {
		if w, ok := o.Xattrs[k]; !ok || w != v {
			return false
		}
	}
	return true
}

// Change is one path that differs between two states. Before or After is nil where it did not, or does not, exist.
type Change struct {
	Path          Path
	Before, After *Entry
}

// Verb words a change: "added", "removed", "changed", "attributes changed".
func (c Change) Verb() string {
	switch {
	case c.Before == nil:
		return "added"
	case c.After == nil:
		return "removed"
	case c.Before.Kind == c.After.Kind && c.Before.Data == c.After.Data && c.Before.Target == c.After.Target:
		return "attributes changed"
	default:
		return "changed"
	}
}

// SortChanges puts changes into the order of their paths.
func SortChanges(list []Change) {
	slices.SortFunc(list, func(a, b Change) int { return strings.Compare(string(a.Path), string(b.Path)) })
}

// Who made a change, as far as the kernel told. Arguments of programs are never kept: they may hold passwords.
type Who struct {
	Program string `json:"program,omitempty"` // "vi", "useradd", "apache2"; "" = not known
	PID     int    `json:"pid,omitempty"`
	User    string `json:"user,omitempty"`  // account that it ran as
	Login   string `json:"login,omitempty"` // account that logged in, where that differs: sudo, su
	TTY     string `json:"tty,omitempty"`   // "pts/0"
	From    string `json:"from,omitempty"`  // address that the person was logged in from
	Service string `json:"service,omitempty"`
}

// String words who: "vi, by anna as root, from 10.7.0.50".
func (w Who) String() string {
	if w == (Who{}) {
		return "not known"
	}
	var out []string
	switch {
	case w.Program != "" && w.Service != "":
		out = append(out, w.Program+" of the service "+w.Service)
	case w.Program != "":
		out = append(out, w.Program)
	case w.Service != "":
		out = append(out, "the service "+w.Service)
	}
	switch {
	case w.Login != "" && w.User != "" && w.Login != w.User:
		out = append(out, "by "+w.Login+" as "+w.User)
	case w.User != "":
		out = append(out, "by "+w.User)
	case w.Login != "":
		out = append(out, "by "+w.Login)
	}
	if w.From != "" {
		out = append(out, "from "+w.From)
	} else if w.TTY != "" {
		out = append(out, "at "+w.TTY)
	}
	return strings.Join(out, ", ")
}

// Commit is a step of history. On each set there are two lines of it (see Branch).
type Commit struct {
	ID       string    `json:"id"`               // SHA-1 of git's commit, in hex
	Parent   string    `json:"parent,omitempty"` // "" for the first
	Seq      uint64    `json:"seq"`              // 1, 2, … along the line; an amended commit keeps its number
	At       time.Time `json:"at"`               // UTC, nanoseconds are dropped
	Server   string    `json:"server"`           // where it was made
	Who      Who       `json:"who"`
	Title    string    `json:"title"`              // "changed etc/hosts", for people; one line
	Note     string    `json:"note,omitempty"`     // more lines
	Rollback string    `json:"rollback,omitempty"` // the commit that it went back to
	Image    string    `json:"image,omitempty"`    // version of the image that ran
}

// Branch is a line of history.
type Branch string

// Branches of the repository on a set. On the primary's set Site is what it records of itself, and Live does not exist. On a secondary's,
// Site is the copy of the primary's line as received, and Live is what this server has made of it: converted, checked and applied, with the
// local changes that it found in between.
const (
	Site Branch = "site"
	Live Branch = "live"
)
