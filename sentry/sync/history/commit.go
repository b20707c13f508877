package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// commitRec is a commit with its tree.
type commitRec struct {
	state.Commit
	tree plumbing.Hash
}

// formatCommit writes c as git's commit. Author and date are for people who use git; what is read back are the date and the trailers:
//
//	changed etc/hosts
//
//	more words, if any
//
//	Atlas-Seq: 12
//	Atlas-Server: "web1"
//	Atlas-Who: {"program":"vi","user":"root","login":"anna"}
//	Atlas-Rollback: 4b825dc642cb6eb9a060e54bf8d69288fbee4904
//	Atlas-Image: "1.4.0"
func formatCommit(c *state.Commit, tree plumbing.Hash) ([]byte, error) {
	who, err := json.Marshal(c.Who)
	if err != nil {
		return nil, fmt.Errorf("write who made the commit: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree %s\n", tree)
	if c.Parent != "" {
		fmt.Fprintf(&b, "parent %s\n", c.Parent)
	}
	at := c.At.Unix()
	fmt.Fprintf(&b, "author %s %d +0000\n", author(c.Who, c.Server), at)
	fmt.Fprintf(&b, "committer Atlas <atlas@%s> %d +0000\n", plainName(c.Server), at)
	fmt.Fprintf(&b, "\n%s\n\n", c.Title)
	if c.Note != "" {
		fmt.Fprintf(&b, "%s\n\n", c.Note)
	}
	fmt.Fprintf(&b, "Atlas-Seq: %d\nAtlas-Server: %s\nAtlas-Who: %s\n", c.Seq, strconv.Quote(c.Server), who)
	if c.Rollback != "" {
		fmt.Fprintf(&b, "Atlas-Rollback: %s\n", c.Rollback)
	}
	if c.Image != "" {
		fmt.Fprintf(&b, "Atlas-Image: %s\n", strconv.Quote(c.Image))
	}
	return b.Bytes(), nil
}

func author(w state.Who, server string) string {
	user := w.Login
	if user == "" {
		user = w.User
	}
	program := w.Program
	if program == "" {
		program = w.Service
	}
	return fmt.Sprintf("%s by %s <%s@%s>", plainName(program), plainName(user), plainName(user), plainName(server))
}

// plainName leaves what git takes as a name in a commit's header.
func plainName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 128 && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-+", r)) || r >= 128 && unicode.IsLetter(r) {
			return r
		}
		return '-'
	}, strings.ToValidUTF8(s, "-"))
	if s == "" {
		return "unknown"
	}
	return s
}

// oneLine makes a title: one line, not empty, without characters that move a terminal's cursor.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if s = strings.Join(strings.Fields(s), " "); s == "" {
		return "changed"
	}
	return s
}

func manyLines(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.TrimSpace(s)
}

// plainWho makes names of programs and users storable: the kernel lets a program's name hold any byte.
func plainWho(w state.Who) state.Who {
	for _, s := range []*string{&w.Program, &w.User, &w.Login, &w.TTY, &w.From, &w.Service} {
		if *s != "" {
			*s = oneLine(*s)
		}
	}
	return w
}

// parseCommit reads what formatCommit writes, and nothing else: written again it must give the same bytes.
func parseCommit(b []byte) (commitRec, error) {
	var c commitRec
	head, msg, ok := strings.Cut(string(b), "\n\n")
	if !ok {
		return c, errors.New("the commit has no message")
	}
	for line := range strings.SplitSeq(head, "\n") {
		key, val, _ := strings.Cut(line, " ")
		switch key {
		case "tree":
			c.tree = plumbing.NewHash(val)
		case "parent":
			c.Parent = val
		case "author":
			f := strings.Fields(val)
			if len(f) < 3 {
				return c, errors.New("the commit's author cannot be read")
			}
			sec, err := strconv.ParseInt(f[len(f)-2], 10, 64)
			if err != nil || sec < 0 || sec > 1<<40 {
				return c, errors.New("the commit's date cannot be read")
			}
			c.At = time.Unix(sec, 0).UTC()
		}
	}
	if c.Parent != "" && !isID(c.Parent) {
		return c, errors.New("the commit's parent cannot be read")
	}
	i := strings.LastIndex(msg, "\n\nAtlas-Seq: ")
	if i < 0 {
		return c, errors.New("the commit was not made by ATLAS")
	}
	c.Title, c.Note, _ = strings.Cut(msg[:i], "\n\n")
	if err := parseTrailers(&c.Commit, msg[i+2:]); err != nil {
		return c, err
	}
	again, err := formatCommit(&c.Commit, c.tree)
	if err != nil {
		return c, err
	}
	if !bytes.Equal(again, b) {
		return c, errors.New("the commit is not written the way it has to be")
	}
	if c.Seq == 0 || c.Title != oneLine(c.Title) || c.Note != manyLines(c.Note) || c.Rollback != "" && !isID(c.Rollback) {
		return c, errors.New("the commit holds words that it must not")
	}
	c.ID = plumbing.ComputeHash(plumbing.CommitObject, b).String()
	return c, nil
}

func parseTrailers(c *state.Commit, s string) error {
	for line := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
		key, val, _ := strings.Cut(line, ": ")
		var err error
		switch key {
		case "Atlas-Seq":
			c.Seq, err = strconv.ParseUint(val, 10, 64)
		case "Atlas-Server":
			c.Server, err = strconv.Unquote(val)
		case "Atlas-Who":
			err = json.Unmarshal([]byte(val), &c.Who)
		case "Atlas-Rollback":
			c.Rollback = val
		case "Atlas-Image":
			c.Image, err = strconv.Unquote(val)
		default:
			err = errors.New("not known")
		}
		if err != nil {
			return fmt.Errorf("trailer %q of the commit: %w", key, err)
		}
	}
	return nil
}

func isID(s string) bool {
	if len(s) != 40 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
