package verify

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// nutServer answers commands by a table; it fails the test if somebody logs in.
func nutServer(t *testing.T, answers map[string]string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				for in := bufio.NewScanner(c); in.Scan(); {
					if strings.HasPrefix(in.Text(), "LOGIN") {
						t.Error("the observer has logged in")
					}
					a, ok := answers[in.Text()]
					if !ok {
						a = "ERR UNKNOWN-COMMAND\n"
					}
					_, _ = c.Write([]byte(a))
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestNUT(t *testing.T) {
	const list = "BEGIN LIST UPS\nUPS office \"The office's \\\"big\\\" one\"\nEND LIST UPS\n"
	with := func(state string) map[string]string {
		return map[string]string{"LIST UPS": list, "GET VAR office ups.status": state}
	}
	for _, c := range []struct {
		name   string
		addr   string
		params map[string]string
		want   Status
		says   string
	}{
		{"on line", nutServer(t, with("VAR office ups.status \"OL CHRG\"\n")), nil, Pass, "office: on mains, charging"},
		{"that one", nutServer(t, with("VAR office ups.status \"OL\"\n")), map[string]string{"ups": "office"}, Pass, "office"},
		{"another one", nutServer(t, with("VAR office ups.status \"OL\"\n")), map[string]string{"ups": "cellar"}, Fail, "no UPS cellar"},
		{"on battery", nutServer(t, with("VAR office ups.status \"OB LB\"\n")), nil, Warn, "on battery, battery low"},
		{"stale", nutServer(t, with("ERR DATA-STALE\n")), nil, Warn, "DATA-STALE"},
		{"none", nutServer(t, map[string]string{"LIST UPS": "BEGIN LIST UPS\nEND LIST UPS\n"}), nil, Fail, "no UPS"},
		{"refused", nutServer(t, map[string]string{"LIST UPS": "ERR ACCESS-DENIED\n"}), nil, Fail, "ACCESS-DENIED"},
		{"nonsense", nutServer(t, map[string]string{"LIST UPS": "HTTP/1.0 400\n"}), nil, Fail, "an answer that is none"},
		{"endless", nutServer(t, map[string]string{"LIST UPS": strings.Repeat("UPS a b\n", 500)}), nil, Fail, "does not end"},
		{"silent", silent(t), nil, Fail, "no answer in time"},
		{"nobody", closedPort(t), nil, Fail, "connect"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if got := NUT(ctx, at(t, c.addr, c.params)); got.Status != c.want || !strings.Contains(got.Evidence, c.says) {
			t.Errorf("%s: NUT = %+v; want %s with %q", c.name, got, c.want, c.says)
		}
		cancel()
	}
}

func TestNUTWords(t *testing.T) {
	for in, want := range map[string][]string{
		`VAR a b "c d"`: {"VAR", "a", "b", "c d"},
		`x "\"y\\" ""`:  {"x", `"y\`, ""},
		`  a  b`:        {"a", "b"},
		``:              nil,
		`"open`:         {"open"},
	} {
		if d := cmp.Diff(want, nutWords(in)); d != "" {
			t.Errorf("nutWords(%q): %s", in, d)
		}
	}
}

func FuzzNUTWords(f *testing.F) {
	f.Add(`VAR a b "c \"d"`)
	f.Fuzz(func(t *testing.T, s string) {
		n := 0
		for _, w := range nutWords(s) {
			n += len(w)
		}
		if n > len(s) {
			t.Errorf("nutWords(%q) made up bytes", s)
		}
	})
}
