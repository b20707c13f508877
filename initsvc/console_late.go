package main

import (
	"os"
	"sync"

	"sayasystems.com/atlas/initsvc/console"
)

// lateConsole takes log lines before there are consoles to show them on: until then they go to the kernel's console, which is
// init's standard error.
type lateConsole struct {
	mu sync.Mutex
	c  *console.Console
}

func (l *lateConsole) set(c *console.Console) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.c = c
}

func (l *lateConsole) line(s string) {
	l.mu.Lock()
	c := l.c
	l.mu.Unlock()
	if c == nil {
		_, _ = os.Stderr.WriteString(s + "\n")
		return
	}
	c.Line(s)
}
