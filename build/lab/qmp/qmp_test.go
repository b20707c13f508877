package qmp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"
)

// machine answers like QEMU: a line for a line, with an event in between.
func machine(t *testing.T, answers ...string) *Conn {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { _ = here.Close(); _ = there.Close() })
	go func() {
		fmt.Fprintln(there, `{"QMP":{"version":{},"capabilities":["oob"]}}`)
		in := bufio.NewScanner(there)
		for _, a := range append([]string{`{"return":{}}`}, answers...) {
			if !in.Scan() {
				return
			}
			fmt.Fprintln(there, a)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	c, err := New(ctx, here)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestExecute(t *testing.T) {
	ctx := context.Background()
	c := machine(t, `{"event":"RESUME","data":{}}`+"\n"+`{"return":{"status":"running"}}`, `{"error":{"class":"DeviceNotFound","desc":"Device 'bay9' not found"}}`)
	var st struct{ Status string }
	if err := c.Execute(ctx, "query-status", nil, &st); err != nil || st.Status != "running" {
		t.Errorf("query-status = %q, %v; want running", st.Status, err)
	}
	var refused *Error
	if err := c.Execute(ctx, "device_del", map[string]string{"id": "bay9"}, nil); !errors.As(err, &refused) || refused.Class != "DeviceNotFound" {
		t.Errorf("device_del = %v; want QEMU's refusal", err)
	}
	if e, err := c.Await(ctx, func(e Event) bool { return e.Name == "RESUME" }); err != nil || e.Name != "RESUME" {
		t.Errorf("Await = %v, %v; want the event that came between", e, err)
	}
}
