package watch

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/sync/state"
)

const (
	trust    = 20 * time.Millisecond // a process's number is not used again so soon
	memory   = time.Minute           // what is known of a process that is gone holds so long
	start    = 50 * time.Millisecond // within that a script's interpreter is started
	maxKnown = 4096
	maxDepth = 32 // of parents
)

// gates are the programs that let people in: what runs below one of them belongs to the person.
var gates = []string{"sshd", "sshd-session", "sshd-auth", "login"}

// jobs are the programs that start something at a time: each start is an action of its own.
var jobs = []string{"cron", "crond", "atd", "anacron"}

// authors finds out who the processes are, and remembers them a while: those who write short files are gone when they are asked for.
type authors struct {
	proc  proc
	user  func(uid uint32) string
	known map[int]*seen
}

// Author tells who a process of this moment belongs to, as Action.Who does. user names accounts.
func Author(pid int, user func(uid uint32) string) state.Who {
	return newAuthors("/proc", user).of(pid, false, time.Now()).who
}

type seen struct {
	start   uint64
	comm    string
	checked time.Time // when it was seen in /proc
	ran     time.Time // when it was seen to start a program
	by      author
}

func newAuthors(dir string, user func(uint32) string) *authors {
	return &authors{proc: proc{dir}, user: user, known: map[int]*seen{}}
}

// of tells who the process is. gone says that the kernel knows it to be gone, so that only memory can tell.
func (a *authors) of(pid int, gone bool, now time.Time) author {
	k := a.known[pid]
	if k != nil && now.Sub(k.checked) < trust && k.ran.IsZero() {
		return k.by
	}
	nobody := author{key: fmt.Sprintf("pid:%d", pid)}
	if pid <= 0 {
		return nobody // outside of our process namespace, or the kernel itself
	}
	var p process
	var err error
	if !gone {
		p, err = a.proc.stat(pid)
	}
	if gone || err != nil {
		if k != nil && now.Sub(k.checked) < memory {
			return k.by
		}
		return nobody
	}
	if k == nil || k.start != p.start || k.comm != p.comm {
		old := k
		k = &seen{start: p.start, comm: p.comm, by: a.find(p)}
		if old != nil && old.start == p.start && old.by.who.From != "" && k.by.who.From == "" { // it is ending, and so is its login
			who := old.by.who
			who.Program, who.User = k.by.who.Program, k.by.who.User
			k.by = author{key: old.by.key, who: who}
		}
		a.forget(now)
		a.known[pid] = k
	}
	k.checked, k.ran = now, time.Time{}
	return k.by
}

// runs takes note that the process starts the program called name. It may still have its parent's name then; should it end before it is
// asked for, this is all that is known of it.
func (a *authors) runs(pid int, name string, now time.Time) {
	p, err := a.proc.stat(pid)
	if err != nil {
		return
	}
	if k := a.known[pid]; k != nil && k.start == p.start && now.Sub(k.ran) < start && interprets(name) {
		return // of the script that was told first
	}
	k := &seen{start: p.start, comm: p.comm, checked: now, ran: now, by: a.find(p)}
	k.by.who.Program = printable(name)
	a.forget(now)
	a.known[pid] = k
}

// interprets tells whether a program is one that runs scripts, or loads programs. Another one that a process starts right after one is
// what the process is for: a shell that is given one command becomes that.
func interprets(name string) bool {
	if strings.HasPrefix(name, "ld-linux") {
		return true
	}
	return slices.Contains([]string{"sh", "bash", "dash", "busybox", "env", "perl", "python", "php", "ruby", "node", "lua", "awk", "mawk", "gawk"}, strings.TrimRight(name, "0123456789."))
}

// forget keeps the memory small.
func (a *authors) forget(now time.Time) {
	if len(a.known) < maxKnown {
		return
	}
	for pid, k := range a.known {
		if now.Sub(k.checked) > memory {
			delete(a.known, pid)
		}
	}
	if len(a.known) >= maxKnown {
		clear(a.known)
	}
}

// find reads what there is to know of a process. What is of the process itself comes first: it may end any moment.
func (a *authors) find(p process) author {
	who := state.Who{PID: p.pid, TTY: p.tty}
	ruid, euid, ok := a.proc.uids(p.pid)
	login, logged := a.proc.loginuid(p.pid)
	who.Program = a.proc.program(p.pid, p.comm)
	service := a.proc.service(p.pid)
	if ok {
		who.User = a.user(euid)
	}
	chain := a.chain(p)
	by := author{key: fmt.Sprintf("session:%d", p.session)}
	if p.session == 0 {
		by.key = fmt.Sprintf("pid:%d.%d", p.pid, p.start)
	}
	top, job := below(chain, gates), below(chain, jobs)
	switch {
	case top >= 0:
		a.person(&who, chain[:top+1], chain[top+1])
		by.key = fmt.Sprintf("login:%d.%d", chain[top].pid, chain[top].start)
	case job >= 0:
		who.Service = service
		by.key = fmt.Sprintf("job:%d.%d", chain[job].pid, chain[job].start)
	case service != "":
		who.Service = service
		by.key = "service:" + service
	}
	switch {
	case logged:
		who.Login = a.user(login)
	case who.Login == "" && who.Service == "" && ok && ruid != euid: // a setuid program
		who.Login = a.user(ruid)
	}
	if who.Login == "" {
		who.Login = a.raised(chain, top)
	}
	if who.Login == who.User {
		who.Login = ""
	}
	by.who = who
	return by
}

// chain is p and its parents, as far as they are there.
func (a *authors) chain(p process) []process {
	list := []process{p}
	for len(list) < maxDepth && p.parent > 1 {
		q, err := a.proc.stat(p.parent)
		if err != nil || q.start > p.start { // the number was used again
			break
		}
		p = q
		list = append(list, p)
	}
	return list
}

// below returns the index of the process right below the nearest one that is called like one of names; -1 if none of the parents is. A
// process with such a name that has another one above it (sshd serving a session) counts as below it.
func below(chain []process, names []string) int {
	for i := 1; i < len(chain); i++ {
		if slices.Contains(names, strings.Fields(chain[i].comm + " ?")[0]) {
			return i - 1
		}
	}
	return -1
}

// person tells about a person's processes, from the one at work to the one that the login started.
func (a *authors) person(who *state.Who, chain []process, gate process) {
	top := chain[len(chain)-1]
	if ruid, _, ok := a.proc.uids(top.pid); ok {
		who.Login = a.user(ruid)
	}
	for _, p := range slices.Backward(chain) {
		if who.From = a.proc.from(p.pid); who.From != "" {
			break
		}
	}
	if who.From == "" { // one that was about to start its first program has no environment yet
		who.From = a.proc.remote(gate.pid)
	}
	for i := len(chain) - 1; i >= 0 && who.TTY == ""; i-- {
		who.TTY = chain[i].tty
	}
}

// raised is who used sudo or su, if one of the parents is that.
func (a *authors) raised(chain []process, top int) string {
	if top >= 0 {
		return ""
	}
	for i := 1; i < len(chain); i++ {
		switch chain[i].comm {
		case "sudo":
			if name := a.proc.env(chain[i-1].pid, "SUDO_USER"); name != "" {
				return printable(name)
			}
			fallthrough
		case "su":
			if i+1 < len(chain) {
				if ruid, _, ok := a.proc.uids(chain[i+1].pid); ok {
					return a.user(ruid)
				}
			}
		}
	}
	return ""
}
