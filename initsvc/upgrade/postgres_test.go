package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/dataform"
)

// realTrees are unpacked roots of Debian with the packages of the packs.
func realTrees(t *testing.T) (tree12, tree13 string) {
	t.Helper()
	dir := os.Getenv("ATLAS_TREES")
	if dir == "" {
		t.Skip("ATLAS_TREES names no directory with tree12 and tree13")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount and chroot")
	}
	tree12, tree13 = filepath.Join(dir, "tree12"), filepath.Join(dir, "tree13")
	for _, d := range []string{tree12, tree13} {
		if _, err := os.Stat(filepath.Join(d, "usr/lib/postgresql")); err != nil {
			t.Skipf("no PostgreSQL in %s", d)
		}
	}
	if d := os.Getenv("ATLAS_OLDER"); d != "" { // the small root that the builder makes
		tree12 = d
	}
	return tree12, tree13
}

const owner = 601 // postgres in every image

func postgresPack() pack.Pack {
	return pack.Pack{Name: "postgresql", Title: "Database (PostgreSQL)", Formats: []pack.Format{{Path: "/var/lib/postgresql", Kind: dataform.PostgreSQL}}}
}

// lab is a disk set in a directory, and servers of two releases for it.
type lab struct {
	t        *testing.T
	set      string
	old, now string // trees
}

func newLab(t *testing.T) lab {
	old, now := realTrees(t)
	dir := t.TempDir()
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) { // the daemon's user has to come through
		_ = os.Chmod(d, 0o755) //nolint:gosec // directories of a test
	}
	l := lab{t: t, set: filepath.Join(dir, "set"), old: old, now: now}
	data := l.set + "/var/lib/postgresql"
	if err := errors.Join(os.MkdirAll(data, 0o755), os.Chown(data, owner, owner)); err != nil {
		t.Fatal(err)
	}
	return l
}

// keeper is the init of a server with this release.
func (l lab) keeper(release string) *Keeper {
	older := filepath.Join(filepath.Dir(l.set), "older")
	image := l.old
	if release == "13" {
		image = l.now
		if err := os.MkdirAll(older, 0o755); err != nil {
			l.t.Fatal(err)
		}
		if err := os.Symlink(l.old, filepath.Join(older, "12")); err != nil && !errors.Is(err, fs.ErrExist) {
			l.t.Fatal(err)
		}
	} else {
		older = filepath.Join(older, "none")
	}
	log := slog.New(slog.NewTextHandler(testWriter{l.t}, nil))
	return New(Options{Set: l.set, Image: image, Older: older, Release: release, Work: filepath.Join(filepath.Dir(l.set), "work"), Log: log})
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// session has a release's server run on the set's data, as the pack runs it, and psql do sql in database; it returns what it prints.
func (l lab) session(v int, database, sql string) string {
	l.t.Helper()
	tree := l.old
	if v == 17 {
		tree = l.now
	}
	if os.Getenv("ATLAS_OLDER") != "" && v != 17 {
		tree = filepath.Join(os.Getenv("ATLAS_TREES"), "tree12")
	}
	work := l.t.TempDir()
	for d := work; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755) //nolint:gosec // directories of a test
	}
	if err := errors.Join(os.Chmod(work, 0o777), os.WriteFile(work+"/do.sql", []byte(sql), 0o644)); err != nil { //nolint:gosec // the daemon's user writes there
		l.t.Fatal(err)
	}
	r := room{root: tree, data: l.set + "/var/lib/postgresql", path: "/var/lib/postgresql", work: work, uid: owner, gid: owner}
	out, err := r.output(l.t.Context(), "/bin/sh", "-c", `set -e
bin=/usr/lib/postgresql/$1/bin; data=/var/lib/postgresql/$1/main
if [ ! -s $data/PG_VERSION ]; then mkdir -p $data; $bin/initdb -D $data -U postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums --auth=trust >/tmp/initdb.log
	rm $data/postgresql.conf; mv $data/pg_hba.conf $data/pg_ident.conf /tmp; rm -f /tmp/pg_*.conf; fi
echo "local all all trust" >/tmp/hba.conf; : >/tmp/ident.conf; : >/tmp/postgresql.conf
$bin/postgres -D $data -c config_file=/tmp/postgresql.conf -c hba_file=/tmp/hba.conf -c ident_file=/tmp/ident.conf -c listen_addresses= -c unix_socket_directories=/tmp >/tmp/log 2>&1 & pid=$!
n=0; until $bin/pg_isready -q -h /tmp; do sleep 0.2; n=$((n+1)); if [ $n = 300 ] || ! kill -0 $pid; then cat /tmp/log >&2; exit 1; fi; done
$bin/psql -XAtq -v ON_ERROR_STOP=1 -h /tmp -U postgres -d "$2" -f /tmp/do.sql
kill -INT $pid; wait $pid || { cat /tmp/log >&2; exit 1; }`, "sh", fmt.Sprint(v), database)
	if err != nil {
		l.t.Fatalf("PostgreSQL %d: %v", v, err)
	}
	return out
}

// content makes several databases of all that is in people's.
const content = `
CREATE ROLE owner LOGIN PASSWORD 'secret one';
CREATE ROLE "Odd Name" LOGIN CREATEDB PASSWORD 'two';
CREATE ROLE staff NOLOGIN; GRANT staff TO owner; ALTER ROLE owner SET work_mem = '8MB';
CREATE DATABASE shop OWNER owner; ALTER DATABASE shop SET timezone = 'UTC'; REVOKE CONNECT ON DATABASE shop FROM PUBLIC;
CREATE DATABASE "Büro" TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LOCALE 'C.UTF-8';
CREATE DATABASE "odd='name" TEMPLATE template0;
CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C';
COMMENT ON DATABASE postgres IS 'kept';
CREATE TABLE public.in_postgres(id int); INSERT INTO in_postgres SELECT generate_series(1, 7);
\connect template1
CREATE TABLE in_template(id int);
\connect shop
CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm; CREATE EXTENSION citext; CREATE EXTENSION btree_gist; CREATE EXTENSION pg_stat_statements; CREATE EXTENSION "uuid-ossp";
CREATE SCHEMA s AUTHORIZATION owner; SET ROLE owner;
CREATE TYPE s.mood AS ENUM ('well', 'ill'); CREATE DOMAIN s.pos AS int CHECK (VALUE > 0);
CREATE TABLE s.a(id bigserial PRIMARY KEY, name citext, h hstore, m s.mood, at timestamptz DEFAULT now(), j jsonb, p s.pos, twice int GENERATED ALWAYS AS (p * 2) STORED);
CREATE INDEX ON s.a USING gin (name gin_trgm_ops); CREATE INDEX ON s.a USING gin (h);
INSERT INTO s.a(name, h, m, j, p) SELECT 'Name ' || i, hstore('k', i::text), 'well', jsonb_build_object('i', i), i FROM generate_series(1, 20000) i;
CREATE TABLE s.part(id int, v text) PARTITION BY RANGE (id); CREATE TABLE s.part1 PARTITION OF s.part FOR VALUES FROM (0) TO (100); CREATE TABLE s.part2 PARTITION OF s.part DEFAULT;
INSERT INTO s.part SELECT i, 'v' FROM generate_series(1, 300) i;
CREATE TABLE s.child(a bigint REFERENCES s.a, note text, EXCLUDE USING gist (a WITH =)); INSERT INTO s.child SELECT i, E'line\nCREATE ROLE postgres;\n\\.\n' FROM generate_series(1, 50) i;
CREATE VIEW s.v AS SELECT count(*) AS n FROM s.a; CREATE MATERIALIZED VIEW s.mv AS SELECT m, count(*) FROM s.a GROUP BY m;
CREATE FUNCTION s.f(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN $1 + 1; END $$;
CREATE FUNCTION s.t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := NEW.name || '!'; RETURN NEW; END $$;
CREATE TRIGGER t BEFORE INSERT ON s.a FOR EACH ROW EXECUTE FUNCTION s.t();
CREATE SEQUENCE s.q START 1000; SELECT nextval('s.q'), nextval('s.q');
ALTER TABLE s.a ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON s.a USING (true);
CREATE UNLOGGED TABLE s.u(id int); INSERT INTO s.u VALUES (1);
RESET ROLE;
SELECT lo_from_bytea(4711, convert_to(repeat('large ', 2000), 'UTF8')); SELECT lo_from_bytea(0, 'x');
\connect "Büro"
CREATE TABLE leute(name text COLLATE "de-x-icu" PRIMARY KEY); INSERT INTO leute VALUES ('Äpfel'), ('Zebra'), ('Öl'), ('apfel');
\connect latin
SET client_encoding = 'UTF8'; CREATE TABLE t(v text); INSERT INTO t VALUES ('é');
`

// asked is what people would ask, and find the same after.
const asked = `
SELECT rolname, rolpassword FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY 1;
SELECT datname, (SELECT array_agg(x ORDER BY x::text) FROM unnest(datacl) x), pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname <> 'template0' ORDER BY 1;
SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'postgres'; SELECT count(*) FROM in_postgres;
\connect template1
SELECT count(*) FROM in_template;
\connect shop
SHOW timezone; SELECT count(*), sum(twice), min(name), max(name), md5(string_agg(a::text, ',' ORDER BY id)) FROM s.a;
SELECT count(*) FROM s.a WHERE name ILIKE '%name 1999%'; SELECT * FROM s.v; SELECT * FROM s.mv; SELECT s.f(1); SELECT tableoid::regclass, count(*) FROM s.part GROUP BY 1 ORDER BY 1;
SELECT count(*), max(note) FROM s.child; SELECT last_value, is_called FROM s.q; SELECT last_value FROM s.a_id_seq; SELECT md5(lo_get(4711)), count(*) FROM pg_largeobject_metadata; SELECT count(*) FROM s.u;
SELECT extname FROM pg_extension ORDER BY 1; SELECT indexdef FROM pg_indexes WHERE schemaname = 's' ORDER BY 1; SELECT nspname, (SELECT array_agg(x ORDER BY x::text) FROM unnest(nspacl) x) FROM pg_namespace WHERE nspname IN ('s', 'public') ORDER BY 1;
\connect "Büro"
SELECT string_agg(name, ' ' ORDER BY name) FROM leute;
\connect latin
SET client_encoding = 'UTF8'; SELECT * FROM t;
`

func (l lab) ready(release string) error {
	return l.keeper(release).Ready(l.t.Context(), postgresPack(), false)
}

func (l lab) must(release string) {
	l.t.Helper()
	start := time.Now()
	if err := l.ready(release); err != nil {
		l.t.Fatalf("Debian %s: %v", release, err)
	}
	l.t.Logf("Debian %s: ready after %s", release, time.Since(start).Round(time.Millisecond))
}

func (l lab) findings(release string) string {
	var out []string
	for _, f := range l.keeper(release).Findings(postgresPack(), "left") {
		out = append(out, f.ID+": "+f.What+" "+f.Next)
	}
	return strings.Join(out, "\n")
}

// TestPostgreSQL takes real data from 15 to 17, back, forward again, and past the point of no return.
func TestPostgreSQL(t *testing.T) {
	l := newLab(t)
	l.session(15, "postgres", content)
	l.must("12")
	before := l.session(15, "postgres", asked)
	l.must("13")
	if d := cmp.Diff(before, l.session(17, "postgres", asked)); d != "" {
		t.Fatalf("what was asked, on 15 and 17:\n%s", d)
	}
	if got := l.findings("13"); !strings.Contains(got, "If these disks go back into a server with Debian 12") {
		t.Errorf("findings on 13: %s", got)
	}
	l.session(17, "shop", "INSERT INTO s.part VALUES (999, 'written on 17')")
	l.must("13") // another boot changes nothing
	if got := l.session(17, "shop", "SELECT count(*) FROM s.part"); got != "301\n" {
		t.Errorf("rows after another boot: %s", got)
	}

	l.must("12")
	if d := cmp.Diff(before, l.session(15, "postgres", asked)); d != "" {
		t.Fatalf("what was asked, before and after the way back:\n%s", d)
	}
	if got := l.findings("12"); !strings.Contains(got, "It is not lost: it lies in /var/lib/postgresql/17/main.aside-") {
		t.Errorf("findings on 12: %s", got)
	}
	l.session(15, "shop", "INSERT INTO s.part VALUES (888, 'written on 15 again')")

	l.must("13")
	if got := l.session(17, "shop", "SELECT v FROM s.part WHERE id > 500"); got != "written on 15 again\n" {
		t.Errorf("rows after going forward again: %s", got)
	}
	k := l.keeper("13")
	lines, err := k.Open([]pack.Pack{postgresPack()})
	if err != nil || len(lines) != 2 {
		t.Errorf("kept: %q, %v; want the directory of 15 and the one that was set aside", lines, err)
	}
	freed, titles, err := k.Commit(t.Context(), []pack.Pack{postgresPack()})
	if err != nil || freed < 1<<20 || len(titles) != 1 {
		t.Errorf("Commit = %d, %v, %v", freed, titles, err)
	}
	if l.findings("13") != "" || exists(l.set+"/var/lib/postgresql/15/main") {
		t.Errorf("after Commit: %s", l.findings("13"))
	}
	var r *RefusedError
	if err := l.ready("12"); !errors.As(err, &r) || r.Plan.Why != dataform.Given {
		t.Errorf("Debian 12 after Commit: %v; want it refused", err)
	}
	l.must("13")
	if got := l.session(17, "shop", "SELECT v FROM s.part WHERE id > 500"); got != "written on 15 again\n" {
		t.Errorf("rows after all: %s", got)
	}
}

// TestPostgreSQLMissing has what the newer release lacks: the data stay as they are, and the older one goes on with them.
func TestPostgreSQLMissing(t *testing.T) {
	l := newLab(t)
	l.session(15, "postgres", "CREATE DATABASE shop; \\connect shop\nCREATE EXTENSION adminpack; CREATE TABLE t AS SELECT generate_series(1, 9) AS id")
	l.must("12")
	err := l.ready("13")
	f := l.keeper("13").Refusal(postgresPack(), "left", err)
	if err == nil || !strings.Contains(f.What, "lacks extensions that are in use: adminpack (database shop)") || !strings.Contains(f.Next, "DROP EXTENSION") {
		t.Errorf("finding: %+v", f)
	}
	if exists(l.set + "/var/lib/postgresql/17/main") {
		t.Error("there is a cluster of 17")
	}
	l.must("12")
	if got := l.session(15, "shop", "SELECT count(*) FROM t; DROP EXTENSION adminpack"); got != "9\n" {
		t.Errorf("rows on 12: %s", got)
	}
	l.must("13")
	if got := l.session(17, "shop", "SELECT count(*) FROM t"); got != "9\n" {
		t.Errorf("rows on 13: %s", got)
	}
}

// TestPostgreSQLCrashed: the older server ended by a power cut, and settings of ALTER SYSTEM would reach out.
func TestPostgreSQLCrashed(t *testing.T) {
	l := newLab(t)
	l.session(15, "postgres", `CREATE TABLE t AS SELECT generate_series(1, 5000) AS id; ALTER SYSTEM SET work_mem = '9MB';
ALTER SYSTEM SET archive_mode = on; ALTER SYSTEM SET archive_command = 'touch /var/lib/postgresql/reached-out'; ALTER SYSTEM SET shared_preload_libraries = 'nothing-here';`)
	conf := l.set + "/var/lib/postgresql/15/main/postgresql.auto.conf"
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	quiet := strings.ReplaceAll(strings.ReplaceAll(string(text), "shared_preload", "#"), "archive", "#")
	put := func(s string) {
		if err := os.WriteFile(conf, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(quiet)
	l.session(15, "postgres", "INSERT INTO t SELECT generate_series(1, 500); CREATE TABLE crash AS SELECT 1 AS x;\n\\! cp -a /var/lib/postgresql/15/main /var/lib/postgresql/15/copied")
	main := l.set + "/var/lib/postgresql/15/main"
	if err := errors.Join(os.RemoveAll(main), os.Rename(filepath.Dir(main)+"/copied", main)); err != nil { // as it was in the middle of its work
		t.Fatal(err)
	}
	put(string(text))
	l.must("13")
	if exists(l.set + "/var/lib/postgresql/reached-out") {
		t.Error("the old server did what its settings say")
	}
	if err := os.WriteFile(l.set+"/var/lib/postgresql/17/main/postgresql.auto.conf", []byte(quiet), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := l.session(17, "postgres", "SELECT count(*) FROM t; SELECT * FROM crash; SHOW work_mem"); got != "5500\n1\n9MB\n" {
		t.Errorf("on 17: %s", got)
	}
}

// TestPostgreSQLCut cuts the work at random moments, as a power cut does, and looks whether the next start ends it.
func TestPostgreSQLCut(t *testing.T) {
	if os.Getenv("ATLAS_CUT_SET") != "" { // the one that is cut
		l := lab{t: t, set: os.Getenv("ATLAS_CUT_SET")}
		l.old, l.now = realTrees(t)
		if err := l.ready(os.Getenv("ATLAS_CUT_RELEASE")); err != nil {
			t.Fatal(err)
		}
		return
	}
	l := newLab(t)
	l.session(15, "postgres", content)
	l.session(15, "shop", "TRUNCATE s.u") // what is not logged is empty after a power cut: PostgreSQL says so of it
	l.must("12")
	before := l.session(15, "postgres", asked)
	run := func(ctx context.Context, release string) (time.Duration, error) {
		start := time.Now()
		cmd := exec.CommandContext(ctx, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", os.Args[0], "-test.run=^TestPostgreSQLCut$")
		cmd.Env = append(os.Environ(), "ATLAS_CUT_SET="+l.set, "ATLAS_CUT_RELEASE="+release)
		cmd.WaitDelay = 30 * time.Second
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		if err != nil && ctx.Err() == nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return time.Since(start), err
	}
	took, err := run(t.Context(), "13")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("whole: %s", took)
	for i, cuts := 0, 0; cuts < 20; i++ {
		if _, err := run(t.Context(), "12"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(took))))
		after, err := run(ctx, "13")
		cancel()
		what := "ended"
		if err != nil {
			what = "cut"
			cuts++
		}
		rec, rerr := l.keeper("13").load()
		if rerr != nil {
			t.Fatal(rerr)
		}
		e := rec.Data["postgresql /var/lib/postgresql"]
		t.Logf("%d: %s after %s; form %d, doing %+v", i, what, after.Round(time.Millisecond), e.Form, e.Doing)
		if i%4 == 3 { // back to the old server in the middle
			l.must("12")
			if d := cmp.Diff(before, l.session(15, "postgres", asked)); d != "" {
				t.Fatalf("on 15 after a cut:\n%s", d)
			}
			continue
		}
		l.must("13")
		if d := cmp.Diff(before, l.session(17, "postgres", asked)); d != "" {
			t.Fatalf("on 17 after a cut:\n%s", d)
		}
	}
}
