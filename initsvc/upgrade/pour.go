package upgrade

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// pour has the new release's pg_dumpall read the old server and psql write to the new one; the first error ends it.
func (d *dump) pour(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read := d.new.command(ctx, d.new.bin+"/pg_dumpall", "--host=/tmp/old", "--username="+superuser, "--database=postgres", "--clean", "--if-exists", "--no-sync")
	write := d.new.command(ctx, d.new.bin+"/psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null",
		"--host=/tmp/new", "--username="+superuser, "--dbname=postgres") // template1 is the first to be made anew
	var readSaid, writeSaid tail
	read.Stderr, write.Stderr = &readSaid, &writeSaid
	from, err := read.StdoutPipe()
	if err != nil {
		return err
	}
	to, err := write.StdinPipe()
	if err != nil {
		return err
	}
	if err := write.Start(); err != nil {
		return err
	}
	if err := read.Start(); err != nil {
		cancel()
		return errors.Join(err, write.Wait())
	}
	copied := make(chan error, 1)
	go func() {
		err := withoutSuperuser(to, from)
		if err != nil {
			cancel() // the reader does not end by itself when nobody listens
		}
		copied <- errors.Join(err, to.Close())
	}()
	errCopy := <-copied
	errRead := read.Wait() // after the pipe has been read to its end
	errWrite := write.Wait()
	switch {
	case errWrite != nil && writeSaid.buf.Len() > 0:
		return fmt.Errorf("PostgreSQL %d does not take what %d has: %s", d.to, d.from, writeSaid.last())
	case errRead != nil:
		return fmt.Errorf("the data of PostgreSQL %d cannot be read: %w: %s", d.from, errRead, readSaid.last())
	}
	return errors.Join(errWrite, errCopy)
}

// withoutSuperuser copies the text of pg_dumpall without the two lines that would make the role anew that writes: it is there. They come
// before any data, so that no row can look like them.
func withoutSuperuser(to io.Writer, from io.Reader) error {
	in := bufio.NewReaderSize(from, 1<<20)
	drop := []string{"DROP ROLE IF EXISTS " + superuser + ";\n", "CREATE ROLE " + superuser + ";\n"}
	for len(drop) > 0 {
		l, err := in.ReadString('\n')
		if i := slices.Index(drop, l); i >= 0 {
			drop = slices.Delete(drop, i, i+1)
		} else if _, werr := io.WriteString(to, l); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	_, err := io.Copy(to, in)
	return err
}

// progress tells how much of the new cluster is there, by its size.
func (d *dump) progress(ctx context.Context) {
	for {
		n, err := size(d.build)
		if err == nil && d.bytes > 0 {
			d.o.Progress(d.service, fmt.Sprintf("from PostgreSQL %d to %d: about %d %%", d.from, d.to, min(99, n*100/d.bytes)))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(3 * time.Second):
		}
	}
}

// inventory asks for what is to be equal on both sides, in one database: rows of each table, and how many objects there are of each kind. What
// belongs to an extension may differ from version to version.
const inventory = `
SET search_path = pg_catalog;
CREATE TEMP VIEW theirs AS SELECT c.*, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');
SELECT 'objects', relkind, count(*) FROM theirs GROUP BY 2 ORDER BY 2;
SELECT 'functions', prokind, count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') GROUP BY 2 ORDER BY 2;
SELECT 'triggers', count(*) FROM pg_trigger WHERE NOT tgisinternal;
SELECT 'constraints', contype, count(*) FROM pg_constraint WHERE conrelid IN (SELECT oid FROM theirs) AND contype <> 'n' GROUP BY 2 ORDER BY 2;
SELECT 'policies', count(*) FROM pg_policy;
SELECT 'extension', extname FROM pg_extension ORDER BY 2;
SELECT 'large objects', count(*) FROM pg_largeobject_metadata;
SELECT 'large pages', count(*) FROM pg_largeobject;
SELECT format('SELECT ''sequence'', %L, last_value, is_called FROM %I.%I', nspname || '.' || relname, nspname, relname) FROM theirs WHERE relkind = 'S' ORDER BY nspname COLLATE "C", relname COLLATE "C" \gexec
SELECT format('SELECT ''rows'', %L, count(*) FROM ONLY %I.%I', nspname || '.' || relname, nspname, relname) FROM theirs WHERE relkind = 'r' ORDER BY nspname COLLATE "C", relname COLLATE "C" \gexec
`

// whole asks for what is to be equal of the cluster.
const whole = `
SELECT 'role', rolname, rolsuper, rolcanlogin, rolpassword FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY rolname COLLATE "C";
SELECT 'member', count(*) FROM pg_auth_members m JOIN pg_authid a ON a.oid = m.member WHERE a.rolname !~ '^pg_';
SELECT 'database', datname, pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba), datistemplate, datconnlimit FROM pg_database ORDER BY datname COLLATE "C";
SELECT 'setting', count(*) FROM pg_db_role_setting;
`

// compare tells the first difference between old and new.
func (d *dump) compare(ctx context.Context) error {
	databases, err := d.databases(ctx, d.old)
	if err != nil {
		return err
	}
	list := func(c *cluster, db, sql string) ([]string, error) {
		file := d.new.work + "/new/question.sql"
		if err := os.WriteFile(file, []byte(sql), 0o644); err != nil {
			return nil, err
		}
		out, err := d.new.output(ctx, d.new.bin+"/psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1",
			"--host=/tmp/"+c.name, "--username="+superuser, toDatabase(db), "--file=/tmp/new/question.sql")
		return strings.Split(strings.TrimSpace(out), "\n"), err
	}
	ask := func(db, sql string) error {
		old, errOld := list(d.old, db, sql)
		now, errNew := list(d.new, db, sql)
		if err := errors.Join(errOld, errNew); err != nil {
			return err
		}
		for i := range max(len(old), len(now)) {
			var a, b string
			if i < len(old) {
				a = old[i]
			}
			if i < len(now) {
				b = now[i]
			}
			if a != b {
				if strings.HasPrefix(a+b, "role|") { // not for a log
					a, b = cut(a), cut(b)
				}
				return fmt.Errorf("database %s is not the same in PostgreSQL %d and %d after all: %q and %q", db, d.from, d.to, a, b)
			}
		}
		return nil
	}
	if err := ask("postgres", whole); err != nil {
		return err
	}
	for _, db := range databases {
		if err := ask(db, inventory); err != nil {
			return err
		}
	}
	return nil
}

// cut leaves a role's password out.
func cut(line string) string {
	f := strings.SplitN(line, "|", 5)
	return strings.Join(f[:min(4, len(f))], "|")
}
