package verify

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

var (
	sqlName = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)
	sqlPath = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}(\.[A-Za-z0-9_]{1,64})?$`)
)

// MySQL reads row 1 of a table, then writes a row into another, reads it back and deletes it, encrypted; a server that has no TLS is a warning.
// A wrong password must be refused, and so must what is not the account's business. Parameters: user ("atlas_verify"), database
// ("atlas_verify"), table ("canary": id, text), scratch ("scratch": id, text), forbidden (a table that it must not read,
// "mysql.global_priv": everybody's passwords; "no" = do not ask), port ("3306").
func MySQL(ctx context.Context, t Target) Outcome {
	if t.Secret == "" {
		return noSecret(t)
	}
	table, scratch, forbidden := t.Param("table", "canary"), t.Param("scratch", "scratch"), t.Param("forbidden", "mysql.global_priv")
	if !sqlName.MatchString(table) || !sqlName.MatchString(scratch) || !sqlPath.MatchString(forbidden) {
		return misnamed("the probe names an impossible table")
	}
	next := fmt.Sprintf("On %s look at the database: `atlas service list`, and its log.", t.Server)
	encrypted, out, ok := mysqlRefuses(ctx, t, next)
	if !ok {
		return out
	}
	db, err := mysqlOpen(t, stepLogin, t.Secret, encrypted)
	if err != nil {
		return misnamed(err.Error())
	}
	defer func() { _ = db.Close() }()
	if err := db.PingContext(ctx); err != nil {
		return failed("log on as "+t.Param("user", "atlas_verify"), err, next)
	}
	begin(ctx, stepTransaction)
	var text string
	err = db.QueryRowContext(ctx, "SELECT text FROM "+table+" WHERE id = 1").Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return failure("row 1 of "+table+" is missing", next)
	}
	if err != nil {
		return failed("read row 1 of "+table, err, next)
	}
	if step, err := mysqlRoundTrip(ctx, db, scratch, t.Observer); err != nil {
		return failed(step, err, next)
	}
	seen := fmt.Sprintf("read “%s”; wrote, read back and deleted a row; a wrong password is refused", text)
	begin(ctx, stepRefusal)
	if forbidden != "no" {
		_, err := db.ExecContext(ctx, "SELECT 1 FROM "+forbidden+" LIMIT 1")
		switch {
		case err == nil:
			return alarm("the verification account, which has no rights, may read "+forbidden, "Take the rights from it: SHOW GRANTS FOR '"+t.Param("user", "atlas_verify")+"', and REVOKE.")
		case !mysqlSays(err, 1142, 1044):
			return failed("ask for "+forbidden, err, next)
		}
		seen += ", as is what is not its own"
	}
	if !encrypted {
		return warning(seen+"; but the server offers no encryption", "Give MariaDB the site's certificate: ssl-cert and ssl-key in /etc/mysql.")
	}
	return Outcome{Status: Pass, Evidence: seen}
}

// mysqlRefuses tries a wrong password, and finds out whether the server has TLS.
func mysqlRefuses(ctx context.Context, t Target, next string) (encrypted bool, out Outcome, ok bool) {
	err := error(nil)
	for _, encrypted = range []bool{true, false} {
		var db *sql.DB
		if db, err = mysqlOpen(t, stepRefusal, "wrong-"+rand.Text(), encrypted); err != nil {
			return false, misnamed(err.Error()), false
		}
		err = db.PingContext(ctx)
		_ = db.Close()
		if !errors.Is(err, mysql.ErrNoTLS) {
			break
		}
	}
	switch {
	case err == nil:
		return false, alarm("a wrong password for "+t.Param("user", "atlas_verify")+" was accepted",
			"Look at the account in mysql.global_priv: it must be identified by a password; and at skip-grant-tables."), false
	case mysqlSays(err, 1045):
		return encrypted, Outcome{}, true
	}
	return false, failed("connect", err, next), false
}

// mysqlSays tells whether the server answered with one of these numbers (https://mariadb.com/kb/en/mariadb-error-codes/): 1044, 1045 and 1142
// are access denied to a database, to a user and to a table.
func mysqlSays(err error, numbers ...uint16) bool {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && slices.Contains(numbers, e.Number)
}

func mysqlOpen(t Target, step, password string, encrypted bool) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(t.Address, t.Param("port", "3306"))
	cfg.User, cfg.Passwd, cfg.DBName = t.Param("user", "atlas_verify"), password, t.Param("database", "atlas_verify")
	cfg.Logger = &mysql.NopLogger{}
	cfg.DialFunc = dialThen(step)
	if encrypted {
		// The certificate names the site, not the address that is probed; whether the service answers is asked here.
		cfg.TLS = &tls.Config{InsecureSkipVerify: true, ServerName: t.Hostname, MinVersion: tls.VersionTLS12}
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db, nil
}

func mysqlRoundTrip(ctx context.Context, db *sql.DB, scratch, observer string) (step string, err error) {
	id, want := observer+"-"+strings.ToLower(rand.Text()[:12]), rand.Text()
	// What an interrupted run of this observer left behind.
	if _, err := db.ExecContext(ctx, "DELETE FROM "+scratch+" WHERE id LIKE ?", observer+"-%"); err != nil {
		return "delete old rows", err
	}
	if _, err := db.ExecContext(ctx, "INSERT INTO "+scratch+" (id, text) VALUES (?, ?)", id, want); err != nil {
		return "write a row", err
	}
	var got string
	if err := db.QueryRowContext(ctx, "SELECT text FROM "+scratch+" WHERE id = ?", id).Scan(&got); err != nil {
		return "read the row back", err
	}
	if got != want {
		return "read the row back", errors.New("it is other than written")
	}
	_, err = db.ExecContext(ctx, "DELETE FROM "+scratch+" WHERE id = ?", id)
	return "delete the row", err
}
