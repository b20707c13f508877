package guard

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestDo(t *testing.T) {
	var told []string
	g := Guard{Crashed: func(name string, err error) { told = append(told, name+": "+err.Error()); panic("again") }}
	err := g.Do("part", func() error { panic("boom") })
	var p *PanicError
	if !errors.As(err, &p) || p.Value != "boom" || p.Stack == "" {
		t.Errorf("Do = %v; want PanicError boom with a stack", err)
	}
	if len(told) != 1 || told[0] != "part: part crashed: boom" {
		t.Errorf("told %q", told)
	}
	want := errors.New("plain")
	if err := g.Do("part", func() error { return want }); !errors.Is(err, want) {
		t.Errorf("Do = %v; want %v", err, want)
	}
}

func TestKeepStartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		done := make(chan struct{})
		Guard{}.Keep(t.Context(), "part", func(context.Context) {
			if n++; n < 3 {
				panic(n)
			}
			close(done)
		})
		<-done
		if n != 3 {
			t.Errorf("ran %d times; want 3", n)
		}
	})
}
