package verify

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/go-sql-driver/mysql"
)

var sqlName = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)

// MySQL reads row 1 of a table, then writes a row into another, reads it back and deletes it. Parameters: user ("atlas_verify"), database
// ("atlas_verify"), table ("canary": id, text), scratch ("scratch": id, text), port ("3306").
func MySQL(ctx context.Context, t Target) Outcome {
	if t.Secret == "" {
		return noSecret(t)
	}
	table, scratch := t.Param("table", "canary"), t.Param("scratch", "scratch")
	if !sqlName.MatchString(table) || !sqlName.MatchString(scratch) {
		return Outcome{Unknown, "the probe names an impossible table", "Correct the probe in the service pack."}
	}
	next := fmt.Sprintf("On %s look at the database: `atlas service list`, and its log.", t.Server)
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(t.Address, t.Param("port", "3306"))
	cfg.User, cfg.Passwd, cfg.DBName = t.Param("user", "atlas_verify"), t.Secret, t.Param("database", "atlas_verify")
	cfg.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return Outcome{Unknown, err.Error(), "Correct the probe in the service pack."}
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	var text string
	err = db.QueryRowContext(ctx, "SELECT text FROM "+table+" WHERE id = 1").Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return Outcome{Fail, "row 1 of " + table + " is missing", next}
	}
	if err != nil {
		return failed("read row 1 of "+table, err, next)
	}
	id, want := t.Observer+"-"+strings.ToLower(rand.Text()[:12]), rand.Text()
	// What an interrupted run of this observer left behind.
	if _, err := db.ExecContext(ctx, "DELETE FROM "+scratch+" WHERE id LIKE ?", t.Observer+"-%"); err != nil {
		return failed("delete old rows", err, next)
	}
	if _, err := db.ExecContext(ctx, "INSERT INTO "+scratch+" (id, text) VALUES (?, ?)", id, want); err != nil {
		return failed("write a row", err, next)
	}
	var got string
	if err := db.QueryRowContext(ctx, "SELECT text FROM "+scratch+" WHERE id = ?", id).Scan(&got); err != nil {
		return failed("read the row back", err, next)
	}
	if got != want {
		return Outcome{Fail, "the row reads back other than written", next}
	}
	if _, err := db.ExecContext(ctx, "DELETE FROM "+scratch+" WHERE id = ?", id); err != nil {
		return failed("delete the row", err, next)
	}
	return Outcome{Status: Pass, Evidence: fmt.Sprintf("read “%s”; wrote, read back and deleted a row", text)}
}
