package lab

import (
	"fmt"
	"io"
	"time"
)

// progress tells named steps and their seconds.
type progress struct {
	out io.Writer
}

func newProgress(out io.Writer) *progress {
	if out == nil {
		out = io.Discard
	}
	return &progress{out: out}
}

func (p *progress) step(name string, f func() error) error {
	fmt.Fprintf(p.out, "%s …\n", name)
	start := time.Now()
	err := f()
	word := "done"
	if err != nil {
		word = "FAILED"
	}
	fmt.Fprintf(p.out, "%-24s %s in %.1f s\n", name, word, time.Since(start).Seconds())
	return err
}

func (p *progress) say(text string) {
	if text != "" {
		fmt.Fprintf(p.out, "  %s\n", text)
	}
}
