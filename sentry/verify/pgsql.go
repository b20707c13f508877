package verify

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// PgSQL reads row 1 of a table in PostgreSQL, then writes a row into another, reads it back and deletes it, all encrypted. A wrong password
// must be refused, and so must what is not the account's business; a connection without TLS that is let in is a warning. Parameters: user
// ("atlas_verify"), database ("atlas_verify"), table ("canary": id, text), scratch ("scratch": id, text), forbidden (a table that it must not
// read, "pg_catalog.pg_authid": everybody's passwords; "no" = do not ask), port ("5432").
func PgSQL(ctx context.Context, t Target) Outcome {
	if t.Secret == "" {
		return noSecret(t)
	}
	table, scratch := t.Param("table", "canary"), t.Param("scratch", "scratch")
	port, err := strconv.ParseUint(t.Param("port", "5432"), 10, 16)
	forbidden := t.Param("forbidden", "pg_catalog.pg_authid")
	if err != nil || !sqlName.MatchString(table) || !sqlName.MatchString(scratch) || !sqlPath.MatchString(forbidden) {
		return misnamed("the probe names an impossible port or table")
	}
	next := fmt.Sprintf("On %s look at PostgreSQL: `atlas service list`, and its log.", t.Server)
	if out, ok := pgRefuses(ctx, t, uint16(port), next); !ok {
		return out
	}
	db, err := pgConnect(ctx, t, stepLogin, uint16(port), t.Secret, true)
	if err != nil {
		return failed("log on as "+t.Param("user", "atlas_verify"), pgError(err), next)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	begin(ctx, stepTransaction)
	var text string
	err = db.QueryRow(ctx, "SELECT text FROM "+table+" WHERE id = 1").Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return failure("row 1 of "+table+" is missing", next)
	}
	if err != nil {
		return failed("read row 1 of "+table, pgError(err), next)
	}
	if step, err := pgRoundTrip(ctx, db, scratch, t.Observer); err != nil {
		return failed(step, pgError(err), next)
	}
	begin(ctx, stepRefusal)
	seen := fmt.Sprintf("read “%s”; wrote, read back and deleted a row; a wrong password is refused", text)
	if forbidden != "no" {
		_, err := db.Exec(ctx, "SELECT 1 FROM "+forbidden+" LIMIT 1")
		e, refused := errors.AsType[*pgconn.PgError](err)
		switch {
		case err == nil:
			return alarm("the verification account, which has no rights, may read "+forbidden, "Take the rights from it: REVOKE in PostgreSQL, and see what was granted to PUBLIC.")
		case !refused || e.Code != "42501":
			return failed("ask for "+forbidden, pgError(err), next)
		}
		seen += ", as is what is not its own"
	}
	plain, err := pgConnect(ctx, t, stepRefusal, uint16(port), t.Secret, false)
	if err == nil {
		_ = plain.Close(context.WithoutCancel(ctx))
		return warning(seen+"; but logging on without encryption is possible", "Let pg_hba.conf have `hostssl` lines only for what comes over the network.")
	}
	return Outcome{Status: Pass, Evidence: seen}
}

// pgRefuses tries a wrong password.
func pgRefuses(ctx context.Context, t Target, port uint16, next string) (Outcome, bool) {
	db, err := pgConnect(ctx, t, stepRefusal, port, "wrong-"+rand.Text(), true)
	if err == nil {
		_ = db.Close(context.WithoutCancel(ctx))
		return alarm("a wrong password for "+t.Param("user", "atlas_verify")+" was accepted", "Correct pg_hba.conf: no line for the network may say trust."), false
	}
	// https://www.postgresql.org/docs/current/errcodes-appendix.html: class 28, invalid authorization specification
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "28P01" {
		return Outcome{}, true
	}
	return failed("connect", pgError(err), next), false
}

func pgConnect(ctx context.Context, t Target, step string, port uint16, password string, encrypted bool) (*pgx.Conn, error) {
	// Every value is set below; what is parsed here only keeps the environment's PGHOST and the like out.
	cfg, err := pgx.ParseConfig("host=atlas port=1 user=atlas dbname=atlas sslmode=disable target_session_attrs=any")
	if err != nil {
		return nil, err
	}
	cfg.Host, cfg.Port, cfg.Password = t.Address, port, password
	cfg.User, cfg.Database = t.Param("user", "atlas_verify"), t.Param("database", "atlas_verify")
	cfg.RuntimeParams = map[string]string{"application_name": "atlas-sentry"}
	cfg.Fallbacks = nil
	cfg.DialFunc = dialThen(step)
	cfg.TLSConfig = nil
	if encrypted {
		// The certificate names the site, not the address that is probed; whether the service answers is asked here.
		cfg.TLSConfig = &tls.Config{InsecureSkipVerify: true, ServerName: t.Hostname, MinVersion: tls.VersionTLS12}
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // one round trip for statements that are used once
	return pgx.ConnectConfig(ctx, cfg)
}

func pgRoundTrip(ctx context.Context, db *pgx.Conn, scratch, observer string) (step string, err error) {
	id, want := observer+"-"+strings.ToLower(rand.Text()[:12]), rand.Text()
	// What an interrupted run of this observer left behind.
	if _, err := db.Exec(ctx, "DELETE FROM "+scratch+" WHERE id LIKE $1", observer+"-%"); err != nil {
		return "delete old rows", err
	}
	if _, err := db.Exec(ctx, "INSERT INTO "+scratch+" (id, text) VALUES ($1, $2)", id, want); err != nil {
		return "write a row", err
	}
	var got string
	if err := db.QueryRow(ctx, "SELECT text FROM "+scratch+" WHERE id = $1", id).Scan(&got); err != nil {
		return "read the row back", err
	}
	if got != want {
		return "read the row back", errors.New("it is other than written")
	}
	_, err = db.Exec(ctx, "DELETE FROM "+scratch+" WHERE id = $1", id)
	return "delete the row", err
}

// pgError leaves out the connection's particulars, which say nothing to a person: the server's own words, or the network's.
func pgError(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("%s (SQLSTATE %s)", e.Message, e.Code)
	}
	if c, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		if u := c.Unwrap(); u != nil {
			return u
		}
	}
	return err
}
