package verify

import (
	"context"
	"maps"
	"net"
	"strings"
	"testing"
	"time"
)

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("SSH-2.0-Test\r\n"))
			_ = c.Close()
		}
	}()
	for _, c := range []struct {
		name, addr, expect string
		want               Status
	}{
		{"open", l.Addr().String(), "", Pass},
		{"greeting", l.Addr().String(), "SSH-2.0-", Pass},
		{"other greeting", l.Addr().String(), "220 ", Fail},
		{"greeting ends early", l.Addr().String(), strings.Repeat("S", 30), Fail},
		{"silent", silent(t), "SSH-", Fail},
		{"closed", closedPort(t), "", Fail},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if got := TCP(ctx, at(t, c.addr, map[string]string{"expect": c.expect})); got.Status != c.want {
			t.Errorf("%s: TCP = %+v; want %s", c.name, got, c.want)
		}
		cancel()
	}
}

func TestPing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	got := Ping(ctx, Target{Address: "127.0.0.1", Server: "left"})
	if got.Status == Unknown {
		t.Skipf("no ICMP sockets here: %s", got.Evidence)
	}
	if got.Status != Pass {
		t.Errorf("Ping of loopback = %+v; want pass", got)
	}
}

// What the service does not answer, refuses or does not know is told as such; the real transactions are tried in the lab.
func TestNoServer(t *testing.T) {
	params := map[string]string{"base": "dc=example", "user": "uid=x,dc=example", "realm": "EXAMPLE", "service": "host/x", "to": "atlas-verify@office.example"}
	kinds := map[string]Run{"smb": SMB, "mysql": MySQL, "ldap": LDAP, "kerberos": Kerberos, "imap": IMAP, "mail": Mail, "smtp": given(SMTP, "user", "atlas-verify")}
	for name, kind := range kinds {
		for where, addr := range map[string]string{"closed": closedPort(t), "silent": silent(t)} {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			from := time.Now()
			got := kind(ctx, at(t, addr, maps.Clone(params)))
			if got.Status != Fail || got.Next == "" || time.Since(from) > 3*time.Second {
				t.Errorf("%s, %s port = %+v after %s; want fail with a next step in time", name, where, got, time.Since(from))
			}
			cancel()
		}
		target := at(t, closedPort(t), maps.Clone(params))
		target.Secret = ""
		if got := kind(t.Context(), target); got.Status != Skipped {
			t.Errorf("%s without password = %+v; want skipped", name, got)
		}
	}
}

// given is kind with a parameter that it does not do without here.
func given(kind Run, key, value string) Run {
	return func(ctx context.Context, t Target) Outcome {
		t.Params[key] = value
		return kind(ctx, t)
	}
}

func TestKindsHaveParams(t *testing.T) {
	for name := range Kinds() {
		if err := CheckParams(name, map[string]string{"timeout": "3s"}); err != nil {
			t.Error(err)
		}
		if err := CheckParams(name, map[string]string{"colour": "red"}); err == nil {
			t.Errorf("%s: unknown parameter accepted", name)
		}
	}
}
