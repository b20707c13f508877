// Package accounts edits the account files of an /etc that is not in use yet (passwd, shadow, group, gshadow: passwd(5),
// shadow(5), group(5)): the installer adds the administrator to a new disk set with it. It keeps every line that it is not asked
// to change, and it makes no home directories. It hashes passwords as those files and Samba want them.
package accounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sayasystems.com/atlas/image/siteconf"
)

// User is one login.
type User struct {
	Name   string
	ID     int // of the user and of the group of the same name
	Gecos  string
	Home   string
	Shell  string
	Groups []string // further groups; those that etc does not have are left out
	Hash   string   // crypt(5)
}

// Add puts u into the files below etc. A user of that name is replaced; another user or group with u's ID is an error.
func Add(etc string, u User, now time.Time) error {
	id := strconv.Itoa(u.ID)
	err := edit(etc, "passwd", 0o644, func(t *table) error {
		if other := t.where(2, id); other != "" && other != u.Name {
			return fmt.Errorf("user id %s belongs to %s already", id, other)
		}
		t.set(u.Name, "x", id, id, u.Gecos, u.Home, u.Shell)
		return nil
	})
	if err != nil {
		return err
	}
	if err := edit(etc, "group", 0o644, func(t *table) error {
		if other := t.where(2, id); other != "" && other != u.Name {
			return fmt.Errorf("group id %s belongs to %s already", id, other)
		}
		t.set(u.Name, "x", id, "")
		for _, g := range u.Groups {
			t.join(g, 3, u.Name)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := edit(etc, "gshadow", 0o640, func(t *table) error {
		if len(t.lines) == 0 {
			return nil
		}
		t.set(u.Name, "!", "", "")
		for _, g := range u.Groups {
			t.join(g, 3, u.Name)
		}
		return nil
	}); err != nil {
		return err
	}
	return SetHash(etc, u.Name, u.Hash, now)
}

// SetHash sets name's password hash in etc/shadow.
func SetHash(etc, name, hash string, now time.Time) error {
	if strings.ContainsAny(hash, ":\n") {
		return fmt.Errorf("password hash of %s holds a colon or a line end", name)
	}
	return edit(etc, "shadow", 0o640, func(t *table) error {
		t.set(name, hash, strconv.FormatInt(now.Unix()/86400, 10), "0", "99999", "7", "", "", "")
		return nil
	})
}

// table is one colon-separated file; the first field is the key.
type table struct{ lines []string }

func (t *table) find(name string) int {
	return slices.IndexFunc(t.lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
}

func (t *table) set(fields ...string) {
	line := strings.Join(fields, ":")
	if i := t.find(fields[0]); i >= 0 {
		t.lines[i] = line
		return
	}
	t.lines = append(t.lines, line)
}

// where returns the key of the line whose field n is v.
func (t *table) where(n int, v string) string {
	for _, l := range t.lines {
		if f := strings.Split(l, ":"); len(f) > n && f[n] == v {
			return f[0]
		}
	}
	return ""
}

// join adds member to the comma list in field n of the line called name, if there is such a line.
func (t *table) join(name string, n int, member string) {
	i := t.find(name)
	if i < 0 {
		return
	}
	f := strings.Split(t.lines[i], ":")
	if len(f) <= n {
		return
	}
	members := slices.DeleteFunc(strings.Split(f[n], ","), func(m string) bool { return m == "" })
	if !slices.Contains(members, member) {
		members = append(members, member)
	}
	f[n] = strings.Join(members, ",")
	t.lines[i] = strings.Join(f, ":")
}

// edit rewrites etc/name durably, keeping its mode and owner; mode is that of a file that does not exist yet.
func edit(etc, name string, mode fs.FileMode, change func(*table) error) error {
	path := filepath.Join(etc, name)
	uid, gid := -1, -1
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read %s: %w", path, err)
	default:
		st, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		mode = st.Mode().Perm()
		uid, gid = owner(st)
	}
	t := &table{}
	if s := strings.TrimRight(string(data), "\n"); s != "" {
		t.lines = strings.Split(s, "\n")
	}
	if err := change(t); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(t.lines) == 0 {
		return nil
	}
	if err := siteconf.WriteFile(path, []byte(strings.Join(t.lines, "\n")+"\n"), mode); err != nil {
		return err
	}
	if uid >= 0 {
		if err := os.Chown(path, uid, gid); err != nil {
			return fmt.Errorf("keep owner: %w", err)
		}
	}
	return nil
}
