package office

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/build/lab/place"
)

func TestNameDependsOnFolder(t *testing.T) {
	a, b := New("/srv/one"), New("/srv/two")
	if a.Name() == b.Name() || a.Name() != New("/srv/one/").Name() {
		t.Errorf("names %s, %s; want different ones, and the same for the same folder", a.Name(), b.Name())
	}
	// Names of network namespaces are free, but the client's must not be another lab's.
	if !strings.HasPrefix(a.ClientNetNS(), a.NetNS()) {
		t.Errorf("client's namespace %s does not go with %s", a.ClientNetNS(), a.NetNS())
	}
}

// TestNetwork makes a real one: the client reaches the gateway, and nothing else is there.
func TestNetwork(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	o := New(t.TempDir())
	t.Cleanup(func() {
		if err := o.Down(); err != nil {
			t.Error(err)
		}
		if o.Exists() {
			t.Error("network is still there after Down")
		}
	})
	for range 2 { // the second finds it made
		if err := o.Up(); err != nil {
			t.Skip("network namespaces do not work here:", err)
		}
	}
	var l net.Listener
	if err := (place.Place{NetNS: o.ClientNetNS()}).Do(func() error {
		var err error
		l, err = net.Listen("tcp", Client+":80")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("hello"))
			_ = c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := o.Dial(ctx, "tcp", Client+":80")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	buf := make([]byte, 5)
	if _, err := c.Read(buf); err != nil || string(buf) != "hello" {
		t.Errorf("read %q, %v; want hello", buf, err)
	}
	// Something else may answer at this address outside, so it is the greeting that counts.
	if c, err := (&net.Dialer{Timeout: time.Second}).Dial("tcp", Client+":80"); err == nil {
		_ = c.SetDeadline(time.Now().Add(time.Second))
		buf = make([]byte, 5)
		if _, _ = c.Read(buf); string(buf) == "hello" {
			t.Error("the host reaches the office; want no way there")
		}
		_ = c.Close()
	}
	if err := o.Tap("left0"); err != nil {
		t.Errorf("Tap: %v", err)
	}
	if err := o.Cable("client", false); err != nil {
		t.Error(err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if c, err := o.Dial(ctx, "tcp", Client+":81"); err == nil {
		_ = c.Close()
		t.Error("the client answers although its cable is cut")
	}
}
