package verify

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// pgServer answers a start-up with one error, after saying no or nothing to TLS.
func pgServer(t *testing.T, tls byte, e *pgproto3.ErrorResponse) string {
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
				b := pgproto3.NewBackend(c, c)
				m, err := b.ReceiveStartupMessage()
				if _, ok := m.(*pgproto3.SSLRequest); err != nil || ok && tls != 0 {
					_, _ = c.Write([]byte{tls})
					return
				}
				b.Send(e)
				_ = b.Flush()
			}()
		}
	}()
	return l.Addr().String()
}

func TestPgSQL(t *testing.T) {
	for _, c := range []struct {
		name, addr string
		params     map[string]string
		want       Status
		evidence   string
	}{
		{"no TLS", pgServer(t, 'N', nil), nil, Fail, "server refused TLS connection"},
		{"silent", silent(t), nil, Fail, "no answer in time"},
		{"nothing there", closedPort(t), nil, Fail, "connection refused"},
		{"impossible table", closedPort(t), map[string]string{"table": "a; DROP"}, Unknown, "impossible"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			got := PgSQL(ctx, at(t, c.addr, c.params))
			if got.Status != c.want || !strings.Contains(got.Evidence, c.evidence) {
				t.Errorf("PgSQL = %+v; want %s, %q", got, c.want, c.evidence)
			}
			if got.Status == Fail && got.Next == "" {
				t.Error("a failure without a next step")
			}
			if strings.Contains(got.Evidence, "geheim") {
				t.Errorf("evidence %q has the secret", got.Evidence)
			}
		})
	}
	if got := PgSQL(t.Context(), Target{Observer: "left"}); got.Status != Skipped {
		t.Errorf("PgSQL without a secret = %+v; want skipped", got)
	}
}
