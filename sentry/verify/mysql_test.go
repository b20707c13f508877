package verify

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// mysqlServer greets as MariaDB does, without TLS, and answers every login with answer.
func mysqlServer(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	packet := func(n byte, body string) []byte {
		return append([]byte{byte(len(body)), byte(len(body) >> 8), 0, n}, body...)
	}
	// Protocol 10, version, thread, salt, capabilities (4.1, secure connection, plugin authentication), character set, status.
	greeting := "\x0a11.8.3-MariaDB\x00" + "\x01\x00\x00\x00" + "12345678\x00" + "\x08\x82" + "\x2d" + "\x02\x00" + "\x08\x00" + "\x15" + strings.Repeat("\x00", 10) +
		"123456789012\x00" + "mysql_native_password\x00"
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = c.Write(packet(0, greeting))
				var head [4]byte
				for n := byte(2); ; n = 1 {
					if _, err := io.ReadFull(c, head[:]); err != nil {
						return
					}
					if _, err := io.ReadFull(c, make([]byte, int(head[0])|int(head[1])<<8)); err != nil {
						return
					}
					_, _ = c.Write(packet(n, answer))
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestMySQL(t *testing.T) {
	const ok, denied, full = "\x00\x00\x00\x02\x00\x00\x00", "\xff\x15\x04#28000Access denied", "\xff\x10\x04#08004Too many connections"
	for _, c := range []struct {
		name, addr string
		params     map[string]string
		want       Status
		says       string
		weight     int
	}{
		{"every password", mysqlServer(t, ok), nil, Fail, "a wrong password for atlas_verify was accepted", triesAlarm},
		{"no password", mysqlServer(t, denied), nil, Fail, "log on as atlas_verify: Error 1045", 0},
		{"too many connections", mysqlServer(t, full), nil, Fail, "Too many connections", 0},
		{"nothing there", closedPort(t), nil, Fail, "connection refused", triesSure},
		{"silent", silent(t), nil, Fail, "no answer in time", triesSure},
		{"impossible table", closedPort(t), map[string]string{"forbidden": "a.b.c"}, Unknown, "impossible", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := withTimeout(t, time.Second)
			defer cancel()
			got := MySQL(ctx, at(t, c.addr, c.params))
			if got.Status != c.want || !strings.Contains(got.Evidence, c.says) || got.Weight != c.weight {
				t.Errorf("MySQL = %+v; want %s, %q, weight %d", got, c.want, c.says, c.weight)
			}
		})
	}
}
