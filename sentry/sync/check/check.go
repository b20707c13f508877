// Package check shows a configuration to the services' own checkers ("apachectl -t", "testparm", "sshd -t") before it becomes live, and asks
// the same of the live one.
//
// Each check runs in namespaces of its own, made by a helper process that is our own binary again (see Helper and Main): there /etc is the
// candidate, everything is read-only, /tmp, /run and /dev are fresh and empty, there is no network but a loopback of its own, and no
// process but its own. So a checker sees what would be live and cannot harm what is. When its time is over, the helper is killed, and the
// kernel kills with it all that it started.
//
//	Checks, Candidate → Run → helper: namespaces, mounts, account, limits → checker → exit status and last words → Verdict
//
// It judges nothing: what to do with a verdict is the caller's. It does not hold off a checker that connects to a Unix socket lying outside
// /run (the system's log is left to it on purpose), nor one that reads secrets: checkers are the services' own programs, run as the
// accounts that the packs name.
package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Was is where a checker finds what lies below a directory of Check.Fresh, read-only: Was + "/var/spool/cron".
const Was = "/run/was"

// Check is one question to a service's checker.
type Check struct {
	Service string
	Title   string   // for people: "Syntax of the web server's files"
	Command []string // absolute path first; exit status 0 is a pass
	User    string   // account in the candidate; "" = root, with few of its powers
	Timeout time.Duration
	// Show names paths below /run that the checker must see, read-only; Fresh names directories that are empty and writable for it, each
	// given to User. /tmp and /run themselves always are.
	Show, Fresh []string
}

// Result is what a check has shown.
type Result string

// Results. Unknown is no evidence: the checker is missing, ran out of time, or could not be started. It is never good enough.
const (
	Pass    Result = "pass"
	Fail    Result = "fail"
	Unknown Result = "unknown"
)

// Verdict is the answer to a check.
type Verdict struct {
	Service  string
	Title    string
	Result   Result
	Output   string // the checker's last lines, at most 4 KiB; of an unknown result, why
	Duration time.Duration
}

// Candidate is a configuration that is not live yet.
type Candidate struct {
	Layers []Layer
}

// Layer is laid over one directory of the live tree. Its form is that of an overlay's upper directory: files and directories with all of
// their attributes, a character device 0/0 for each name that is removed, and trusted.overlay.opaque="y" on a directory of which nothing
// below shows.
type Layer struct {
	At  string // "/etc"
	Dir string
}

// Helper starts the helper process and passes checks to it. The protocol: the helper's standard input is a pipe on which it gets one JSON
// object (type order); when that pipe closes, whoever asked is gone and the helper ends. The checker's words go to the helper's standard
// output. On file descriptor 3 the helper writes one JSON object (type outcome) before it ends.
type Helper struct {
	// Command becomes Main of this package: the path of sentry's own binary, and its hidden subcommand.
	Command []string
	// Parallel bounds how many checks run at once; 0 = as many as there are processors.
	Parallel int
	// noOverlay tries what a kernel without overlay gets.
	noOverlay bool
}

// maxOutput is what is kept of a checker's words.
const maxOutput = 4 << 10

const defaultTimeout = 30 * time.Second

// couldNot is the exit status of a trial that could not prepare what it needs, and says nothing about the configuration (EX_TEMPFAIL of
// sysexits.h).
const couldNot = 75

// order is what the helper is asked for.
type order struct {
	Command   []string `json:"command"`
	User      string   `json:"user,omitempty"`
	Show      []string `json:"show,omitempty"`
	Fresh     []string `json:"fresh,omitempty"`
	Layers    []Layer  `json:"layers,omitempty"`
	NoOverlay bool     `json:"no_overlay,omitempty"`
}

// outcome is what the helper answers. Error says why the checker could not be run; else Status is its exit status.
type outcome struct {
	Error  string `json:"error,omitempty"`
	Status int    `json:"status"`
	Signal string `json:"signal,omitempty"` // it was ended by this signal
}

// Run asks all checks and returns their verdicts in the same order. A nil candidate means the live tree.
func (h Helper) Run(ctx context.Context, checks []Check, c *Candidate) []Verdict {
	out := make([]Verdict, len(checks))
	n := h.Parallel
	if n <= 0 {
		n = runtime.NumCPU()
	}
	slots := make(chan struct{}, n)
	var wg sync.WaitGroup
	for i, k := range checks {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			out[i] = h.one(ctx, k, c)
		})
	}
	wg.Wait()
	return out
}

func (h Helper) one(ctx context.Context, k Check, c *Candidate) Verdict {
	start := time.Now()
	v := Verdict{Service: k.Service, Title: k.Title, Result: Unknown}
	limit := k.Timeout
	if limit <= 0 {
		limit = defaultTimeout
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	words := &tail{}
	res, err := h.ask(timed, k, c, words)
	v.Output, v.Duration = words.String(), time.Since(start)
	switch {
	case err == nil && res.Error == "" && res.Status == 0 && res.Signal == "":
		v.Result = Pass
	case err == nil && res.Error == "" && res.Signal != "":
		v.Result = Fail
		v.Output = clip(v.Output + "\nthe checker was ended by a signal: " + res.Signal)
	case err == nil && res.Error == "" && res.Status == couldNot:
		v.Result = Unknown
	case err == nil && res.Error == "":
		v.Result = Fail
	case ctx.Err() != nil:
		v.Output = clip(v.Output + "\nthe check was called off")
	case timed.Err() != nil:
		v.Output = clip(fmt.Sprintf("%s\nthe checker did not end within %s and was stopped", v.Output, limit))
	case err != nil:
		v.Output = clip(v.Output + "\n" + err.Error())
	default:
		v.Output = clip(v.Output + "\n" + res.Error)
	}
	v.Output = strings.TrimLeft(v.Output, "\n")
	return v
}

// namespaces of a check. With a process namespace of its own, the end of the helper is the end of everything that it started.
const namespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS

func (h Helper) ask(ctx context.Context, k Check, c *Candidate, words *tail) (outcome, error) {
	var res outcome
	if len(h.Command) == 0 || len(k.Command) == 0 {
		return res, errors.New("there is no command to run")
	}
	o := order{Command: k.Command, User: k.User, Show: k.Show, Fresh: k.Fresh, NoOverlay: h.noOverlay}
	if c != nil {
		o.Layers = c.Layers
	}
	data, err := json.Marshal(o)
	if err != nil {
		return res, fmt.Errorf("ask the checker: %w", err)
	}
	answer, status, err := os.Pipe()
	if err != nil {
		return res, fmt.Errorf("ask the checker: %w", err)
	}
	defer answer.Close()
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/tmp"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = words, words
	cmd.ExtraFiles = []*os.File{status}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Setsid: true}
	cmd.WaitDelay = 2 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		status.Close()
		return res, fmt.Errorf("ask the checker: %w", err)
	}
	err = cmd.Start()
	status.Close()
	if err != nil {
		return res, fmt.Errorf("the check's own view of the system cannot be made: %w", err)
	}
	_, werr := stdin.Write(data) // stays open: its end tells the helper that we are gone
	derr := json.NewDecoder(answer).Decode(&res)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return res, ctx.Err()
	case derr != nil:
		return res, fmt.Errorf("the check's helper ended without an answer: %w", errors.Join(err, werr))
	}
	return res, nil
}

// tail keeps the last words.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if n := len(t.data) - maxOutput; n > 0 {
		t.data = append(t.data[:0], t.data[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return clip(string(t.data))
}

// clip makes text out of a checker's last words: whole lines where there is a choice, and no bytes that a terminal would obey.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.TrimRight(s, "\n ")
	if len(s) >= maxOutput-1 {
		s = s[max(0, len(s)-maxOutput+1):]
		if i := strings.IndexByte(s, '\n'); i >= 0 && i < len(s)-1 {
			s = s[i+1:]
		}
		s = strings.ToValidUTF8(s, "")
	}
	return s
}
