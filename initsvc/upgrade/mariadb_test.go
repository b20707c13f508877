package upgrade

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/dataform"
)

func mariaPack() pack.Pack {
	return pack.Pack{Name: "mariadb", Title: "Database", Formats: []pack.Format{{Path: "/var/lib/mysql", Kind: dataform.Copy}}}
}

// maria has a release's server run on the set's data after the pack's steps, and do sql.
func (l lab) maria(release, sql string) string {
	l.t.Helper()
	tree := l.old
	if release == "13" {
		tree = l.now
	}
	packs, err := filepath.Abs("../../image/packs/mariadb")
	if err != nil {
		l.t.Fatal(err)
	}
	work := l.t.TempDir()
	text := map[string]string{"do.sql": sql}
	for _, f := range []string{"init.sh", "upgrade.sh"} {
		b, err := os.ReadFile(filepath.Join(packs, f))
		if err != nil {
			l.t.Fatal(err)
		}
		text[f] = string(b)
	}
	for f, s := range text {
		if err := os.WriteFile(filepath.Join(work, f), []byte(s), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	r := room{root: tree, data: l.set + "/var/lib", path: "/var/lib", work: work}
	out, err := r.output(l.t.Context(), "/bin/sh", "-c", `set -e
chmod 1777 /tmp; sh /tmp/init.sh; sh /tmp/upgrade.sh
mariadbd --no-defaults --user=mysql --datadir=/var/lib/mysql --skip-networking --socket=/tmp/s --pid-file=/tmp/pid >/tmp/log 2>&1 & pid=$!
n=0; until mariadb-admin --no-defaults -S /tmp/s ping >/dev/null 2>&1; do sleep 0.2; n=$((n+1)); if [ $n = 300 ] || ! kill -0 $pid; then tail /tmp/log >&2; exit 1; fi; done
mariadb --no-defaults -S /tmp/s -N </tmp/do.sql
grep -E 'ERROR' /tmp/log >&2 && exit 1
kill $pid; wait $pid`)
	if err != nil {
		l.t.Fatalf("MariaDB of Debian %s: %v", release, err)
	}
	return out
}

// TestMariaDB takes real data from 10.11 to 11.8 and back. A table with versions of its rows is what the older one does not read afterwards.
func TestMariaDB(t *testing.T) {
	l := newLab(t)
	if err := os.MkdirAll(l.set+"/var/lib", 0o755); err != nil {
		t.Fatal(err)
	}
	ready := func(release string) {
		t.Helper()
		if err := l.keeper(release).Ready(t.Context(), mariaPack(), false); err != nil {
			t.Fatalf("Debian %s: %v", release, err)
		}
	}
	const ask = "SELECT count(*), sum(id) FROM t.a; SELECT count(*), max(v) FROM t.g; SELECT count(*) FROM t.g FOR SYSTEM_TIME ALL; SELECT user FROM mysql.global_priv ORDER BY 1; CALL t.p();"
	ready("12") // noted before there are data, as on a set's first start
	l.maria("12", `CREATE DATABASE t; USE t; CREATE TABLE a(id int AUTO_INCREMENT PRIMARY KEY, v varchar(99), KEY(v)); INSERT INTO a(v) SELECT seq FROM seq_1_to_5000;
CREATE TABLE g(id int PRIMARY KEY, v varchar(20)) WITH SYSTEM VERSIONING; INSERT INTO g SELECT seq, seq FROM seq_1_to_200; UPDATE g SET v = concat(v, 'x');
CREATE PROCEDURE p() SELECT 'proc', count(*) FROM a; CREATE USER u@'%' IDENTIFIED BY 'x';`)
	ready("12")
	before := l.maria("12", ask)
	if !strings.Contains(before, "200\t9x\n400\n") {
		t.Fatalf("what there is: %s", before)
	}
	ready("13")
	if got := l.maria("13", ask); got != before {
		t.Errorf("on 13: %s; want %s", got, before)
	}
	l.maria("13", "INSERT INTO t.g VALUES (999, 'on 13')")
	ready("13")
	if got := l.maria("13", "SELECT count(*) FROM t.g"); got != "201\n" {
		t.Errorf("rows on 13 after another start: %s", got)
	}
	ready("12")
	if got := l.maria("12", ask); got != before {
		t.Errorf("back on 12: %s; want %s", got, before)
	}
	f := l.keeper("12").Findings(mariaPack(), "left")
	if len(f) != 1 || f[0].ID != "data-back-mariadb" {
		t.Errorf("findings on 12: %+v", f)
	}
	l.maria("12", "INSERT INTO t.g VALUES (888, 'on 12')")
	ready("13")
	if got := l.maria("13", "SELECT v FROM t.g WHERE id > 800"); got != "on 12\n" {
		t.Errorf("forward again: %s", got)
	}
	freed, _, err := l.keeper("13").Commit(t.Context(), []pack.Pack{mariaPack()})
	if err != nil || freed < 10<<20 {
		t.Errorf("Commit = %d, %v", freed, err)
	}
	left, err := filepath.Glob(l.set + "/forms/*")
	if err != nil || len(left) != 1 {
		t.Errorf("left on the set: %q, %v; want the record only", left, err)
	}
	var r *RefusedError
	if err := l.keeper("12").Ready(t.Context(), mariaPack(), false); !errors.As(err, &r) || r.Plan.Why != dataform.Given {
		t.Errorf("12 after Commit: %v", err)
	}
}
