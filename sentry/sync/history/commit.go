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
	"unicode/utf8"

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

// parseCommit reads what formatCommit writes. Trailers and fields that a later version of ATLAS adds are passed over: servers of different
// versions carry each other's history, and an older image has to open what a newer one wrote. Anything else that is not ours is refused.
func parseCommit(b []byte) (commitRec, error) {
	var c commitRec
	head, msg, ok := strings.Cut(string(b), "\n\n")
	if !ok || !strings.HasSuffix(msg, "\n") {
		return c, errors.New("the commit has no message")
	}
	if err := c.parseHead(strings.Split(head, "\n")); err != nil {
		return c, err
	}
	i := strings.LastIndex(msg, "\n\nAtlas-Seq: ")
	if i < 0 {
		return c, errors.New("the commit was not made by ATLAS")
	}
	c.Title, c.Note, _ = strings.Cut(msg[:i], "\n\n")
	if err := parseTrailers(&c.Commit, msg[i+2:]); err != nil {
		return c, err
	}
	if c.Seq == 0 || c.Title != oneLine(c.Title) || c.Note != manyLines(c.Note) || c.Who != plainWho(c.Who) || c.Rollback != "" && !isID(c.Rollback) ||
		!utf8.ValidString(c.Server) || !utf8.ValidString(c.Image) {
		return c, errors.New("the commit holds words that it must not")
	}
	c.ID = plumbing.ComputeHash(plumbing.CommitObject, b).String()
	return c, nil
}

// parseHead reads the lines tree, parent (but for the first commit), author and committer.
func (c *commitRec) parseHead(lines []string) error {
	if len(lines) == 4 {
		var ok bool
		if c.Parent, ok = strings.CutPrefix(lines[1], "parent "); !ok || !isID(c.Parent) {
			return errors.New("the commit's parent cannot be read")
		}
		lines = append(lines[:1:1], lines[2:]...)
	}
	if len(lines) != 3 || !strings.HasPrefix(lines[2], "committer ") {
		return errors.New("the commit's header cannot be read")
	}
	tree, ok := strings.CutPrefix(lines[0], "tree ")
	if !ok || !isID(tree) {
		return errors.New("the commit's directory cannot be read")
	}
	c.tree = plumbing.NewHash(tree)
	f := strings.Fields(lines[1])
	if len(f) < 4 || f[0] != "author" || f[len(f)-1] != "+0000" {
		return errors.New("the commit's author cannot be read")
	}
	sec, err := strconv.ParseInt(f[len(f)-2], 10, 64)
	if err != nil || sec < 0 || sec > 1<<40 {
		return errors.New("the commit's date cannot be read")
	}
	c.At = time.Unix(sec, 0).UTC()
	return nil
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
			if !strings.HasPrefix(key, "Atlas-") {
				err = errors.New("not known")
			}
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
