package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sayasystems.com/atlas/initsvc/dataform"
)

// autoConf is what ALTER SYSTEM writes, beside the data.
const autoConf = "postgresql.auto.conf"

// superuser is the role that Debian's clusters are made with.
const superuser = "postgres"

// cluster is a server of PostgreSQL that only we reach: at a socket in memory, with none of its own settings.
type cluster struct {
	room
	name    string // "old" or "new": directory of its socket
	version int
	bin     string // of its release, in its room
	*daemon
}

// dump is the work of bringing one cluster forward.
type dump struct {
	job
	from, to int
	build    string // directory of the new cluster, on the set
	old, new *cluster
	bytes    int64
}

// bring makes a cluster of version to in build with all that is in that of version from: roles, databases, and every row of them, counted
// on both sides. Text goes from the one server to the other; nothing of it lies on disk in between.
func (j job) bring(ctx context.Context, from, to int, build string, bytes int64) (err error) {
	d := dump{job: j, from: from, to: to, build: build, bytes: bytes}
	if err := d.prepare(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, os.RemoveAll(d.old.work))
	}()
	if err := d.refuseFiles(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { // in whatever way this ends, no server of ours goes on
		if err != nil {
			cancel()
			_ = errors.Join(d.old.stop(), d.new.stop()) // they were ended by force
			return
		}
		if err = errors.Join(d.old.stop(), d.new.stop()); err == nil {
			err = d.tidy()
		}
	}()
	j.o.Progress(j.service, fmt.Sprintf("starting PostgreSQL %d on the data of before", from))
	if err := d.old.serve(ctx, filepath.Join(j.f.Path, strconv.Itoa(from), "main"), nil); err != nil {
		return fmt.Errorf("the data of PostgreSQL %d: %w", from, err)
	}
	if err := d.refuseContents(ctx); err != nil {
		return err
	}
	if err := d.initdb(ctx); err != nil {
		return err
	}
	// What is lost by a power cut now is made anew: there is no need to wait for disks before the end.
	fast := []string{
		"fsync=off", "full_page_writes=off", "synchronous_commit=off", "wal_level=minimal", "max_wal_size=256MB", "checkpoint_timeout=1h",
		"maintenance_work_mem=128MB",
	}
	if err := d.new.serve(ctx, d.seen(build), fast); err != nil {
		return fmt.Errorf("PostgreSQL %d: %w", to, err)
	}
	watch, stopWatch := context.WithCancel(ctx)
	go d.progress(watch)
	err = d.pour(ctx)
	stopWatch()
	if err != nil {
		return err
	}
	j.o.Progress(j.service, "comparing what is in both")
	if err := d.compare(ctx); err != nil {
		return err
	}
	j.o.Progress(j.service, "measuring tables")
	_, err = d.new.output(ctx, d.new.bin+"/vacuumdb", "--host=/tmp/new", "--username="+superuser, "--all", "--analyze-only", "--quiet")
	return err
}

// seen is where a directory of the set's data is seen in a room.
func (d *dump) seen(dir string) string {
	return filepath.Join(d.f.Path, strings.TrimPrefix(dir, d.host(d.f.Path)))
}

func (d *dump) prepare() error {
	data := d.host(d.f.Path)
	st, err := os.Stat(filepath.Join(data, strconv.Itoa(d.from), "main"))
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || sys.Uid == 0 {
		return fmt.Errorf("%s belongs to root; PostgreSQL's data belong to postgres", st.Name())
	}
	uid, gid := int(sys.Uid), int(sys.Gid)
	work := filepath.Join(d.o.Work, d.service)
	if err := errors.Join(os.RemoveAll(work), os.MkdirAll(work, 0o711)); err != nil {
		return err
	}
	for _, name := range []string{"old", "new"} {
		dir := filepath.Join(work, name)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, uid, gid)); err != nil {
			return err
		}
	}
	top := filepath.Dir(d.build)
	if !exists(top) {
		if err := errors.Join(os.Mkdir(top, 0o755), os.Chown(top, uid, gid)); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(d.build); err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(d.build, 0o700), os.Chown(d.build, uid, gid)); err != nil {
		return err
	}
	r := room{data: data, path: d.f.Path, work: work, uid: sys.Uid, gid: sys.Gid}
	mk := func(name string, v int, root string) *cluster {
		r.root = root
		return &cluster{room: r, name: name, version: v, bin: fmt.Sprintf("/usr/lib/postgresql/%d/bin", v)}
	}
	for v, root := range d.Older() {
		if v == d.from {
			d.old = mk("old", v, root)
		}
	}
	d.new = mk("new", d.to, d.o.Image)
	if d.old == nil {
		return &RefusedError{Kind: d.f.Kind, Plan: dataform.Plan{Verb: dataform.Refuse, From: d.from, To: d.to, Why: dataform.NoPrograms}}
	}
	return nil
}

// serve starts the server on dir, as seen in the room, and waits until it answers. Settings of ALTER SYSTEM beside the data do not count where
// they would reach out, or ask for what is not here.
func (c *cluster) serve(ctx context.Context, dir string, more []string) error {
	own := filepath.Join(c.work, c.name)
	for name, text := range map[string]string{"postgresql.conf": "# given by words\n", "hba.conf": "local all all trust\n", "ident.conf": ""} {
		if err := os.WriteFile(filepath.Join(own, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	here := "/tmp/" + c.name
	argv := []string{c.bin + "/postgres", "-D", dir}
	for _, s := range append([]string{
		"config_file=" + here + "/postgresql.conf", "hba_file=" + here + "/hba.conf", "ident_file=" + here + "/ident.conf", "external_pid_file=",
		"data_directory=" + dir, "unix_socket_directories=" + here, "unix_socket_permissions=0700", "unix_socket_group=", "listen_addresses=", "port=5432",
		"ssl=off", "max_connections=20", "superuser_reserved_connections=0", "max_wal_senders=0", "max_prepared_transactions=64",
		"max_locks_per_transaction=4096", "max_logical_replication_workers=0", "archive_mode=off", "autovacuum=off", "shared_preload_libraries=",
		"session_preload_libraries=", "local_preload_libraries=", "log_destination=stderr", "logging_collector=off", "log_statement=none",
		"log_min_error_statement=panic", "log_min_duration_statement=-1", "log_timezone=GMT", "timezone=GMT", "cluster_name=", "jit=off",
		"shared_buffers=64MB", "huge_pages=off", "default_transaction_read_only=off", "statement_timeout=0", "lock_timeout=0",
		"idle_in_transaction_session_timeout=0", "idle_session_timeout=0", "row_security=on",
	}, more...) {
		argv = append(argv, "-c", s)
	}
	var err error
	if c.daemon, err = c.start(ctx, argv...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Hour) // recovery after a power cut
	defer cancel()
	// The server writes its state into its file, and has made that anew before there is a socket.
	state := filepath.Join(c.data, strings.TrimPrefix(dir, c.path), "postmaster.pid")
	return c.ready(ctx, func() error {
		if !exists(filepath.Join(own, ".s.PGSQL.5432")) {
			return errors.New("no socket yet")
		}
		text, err := os.ReadFile(state)
		if err == nil && !strings.Contains(string(text), "\nready") {
			err = errors.New("not ready yet")
		}
		return err
	})
}

// ask has a server answer one question with the new release's psql: rows in lines, columns parted by tabs.
func (d *dump) ask(ctx context.Context, c *cluster, database, sql string) ([][]string, error) {
	out, err := d.new.output(ctx, d.new.bin+"/psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=\t", "--set=ON_ERROR_STOP=1",
		"--host=/tmp/"+c.name, "--username="+superuser, toDatabase(database), "--command="+sql)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for l := range strings.Lines(out) {
		if l = strings.TrimSuffix(l, "\n"); l != "" {
			rows = append(rows, strings.Split(l, "\t"))
		}
	}
	return rows, nil
}

// toDatabase names a database to psql, which would read a name with an equals sign as more than one.
func toDatabase(name string) string {
	return "--dbname=dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name) + "'"
}

// refuseFiles finds what cannot be brought forward before any server is started.
func (d *dump) refuseFiles() error {
	dir := filepath.Join(d.host(d.f.Path), strconv.Itoa(d.from), "main")
	for _, name := range []string{"standby.signal", "recovery.signal"} {
		if exists(filepath.Join(dir, name)) {
			return &adviceError{
				text: "the cluster is a copy that follows another server (" + name + ")",
				next: "Make it a server of its own on the older release, or make the copy anew with this release: bringing it forward would part it from the other server.",
			}
		}
	}
	if more, err := filled(filepath.Join(dir, "pg_tblspc")); err != nil || more {
		return errors.Join(err, &adviceError{
			text: "the cluster has tablespaces outside of its directory",
			next: "Move what is in them into pg_default on the older release (ALTER TABLE … SET TABLESPACE), and drop them.",
		})
	}
	return nil
}

// refuseContents finds what the new server lacks, or would not get.
func (d *dump) refuseContents(ctx context.Context) error {
	rows, err := d.ask(ctx, d.old, "postgres", `SELECT 'boot', rolname FROM pg_authid WHERE oid = 10 AND rolname <> 'postgres'
		UNION ALL SELECT 'closed', datname FROM pg_database WHERE NOT datallowconn AND datname <> 'template0'
		UNION ALL SELECT 'prepared', gid FROM pg_prepared_xacts`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		switch r[0] {
		case "boot":
			return &adviceError{text: "its first role is called " + r[1] + ", not postgres", next: "Rename it on the older release."}
		case "closed":
			return &adviceError{text: "the database " + r[1] + " takes no connections and would be left out", next: "On the older release: ALTER DATABASE … ALLOW_CONNECTIONS true, or drop it."}
		case "prepared":
			return &adviceError{text: "the transaction " + r[1] + " is prepared and not ended", next: "On the older release: COMMIT PREPARED or ROLLBACK PREPARED."}
		}
	}
	databases, err := d.databases(ctx, d.old)
	if err != nil {
		return err
	}
	var lacking []string
	for _, db := range databases {
		rows, err := d.ask(ctx, d.old, db, `SELECT extname FROM pg_extension ORDER BY 1`)
		if err != nil {
			return err
		}
		for _, r := range rows {
			control := filepath.Join(d.new.root, "usr/share/postgresql", strconv.Itoa(d.to), "extension", r[0]+".control")
			if !exists(control) {
				lacking = append(lacking, fmt.Sprintf("%s (database %s)", r[0], db))
			}
		}
	}
	if len(lacking) > 0 {
		return &adviceError{
			text: fmt.Sprintf("PostgreSQL %d of this image lacks extensions that are in use: %s", d.to, strings.Join(lacking, ", ")),
			next: "Put the disks back into a server with the older release and drop the extension there (DROP EXTENSION), or build this server's image with its package.",
		}
	}
	return nil
}

func (d *dump) databases(ctx context.Context, c *cluster) ([]string, error) {
	rows, err := d.ask(ctx, c, "postgres", `SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname COLLATE "C"`)
	var out []string
	for _, r := range rows {
		out = append(out, r[0])
	}
	return out, err
}

// initdb makes the new cluster as the old one was made.
func (d *dump) initdb(ctx context.Context) error {
	rows, err := d.ask(ctx, d.old, "postgres", `SELECT pg_encoding_to_char(encoding), datcollate, datctype, coalesce(to_jsonb(d)->>'datlocprovider', 'c'),
		coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale', ''), current_setting('data_checksums'), current_setting('wal_segment_size'), current_setting('data_directory_mode')
		FROM pg_database d WHERE datname = 'template0'`)
	if err != nil {
		return err
	}
	if len(rows) != 1 || len(rows[0]) != 8 {
		return fmt.Errorf("how the cluster was made is not told: %q", rows)
	}
	r := rows[0]
	args := []string{
		d.new.bin + "/initdb", "--pgdata=" + d.seen(d.build), "--username=" + superuser, "--encoding=" + r[0], "--lc-collate=" + r[1], "--lc-ctype=" + r[2],
		"--lc-messages=C", "--lc-monetary=C", "--lc-numeric=C", "--lc-time=C", "--auth=peer", "--no-sync", "--no-instructions",
	}
	if r[3] == "i" {
		args = append(args, "--locale-provider=icu", "--icu-locale="+r[4])
	}
	if r[5] == "on" {
		args = append(args, "--data-checksums")
	}
	if mb, ok := strings.CutSuffix(r[6], "MB"); ok {
		args = append(args, "--wal-segsize="+mb)
	} else if r[6] == "1GB" { // the most there is
		args = append(args, "--wal-segsize=1024")
	}
	if strings.HasSuffix(r[7], "750") {
		args = append(args, "--allow-group-access")
	}
	_, err = d.new.output(ctx, args...)
	return err
}

// tidy leaves in the new cluster what Debian's have: their settings are in /etc. Settings of ALTER SYSTEM are those that the conversion of
// settings has made, or else the old ones, if the new server knows them all.
func (d *dump) tidy() error {
	for _, name := range []string{"postgresql.conf", "pg_hba.conf", "pg_ident.conf"} {
		if err := os.Remove(filepath.Join(d.build, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	old := filepath.Join(d.host(d.f.Path), strconv.Itoa(d.from), "main", autoConf)
	converted := filepath.Join(d.host(d.f.Path), strconv.Itoa(d.to), "main", autoConf)
	mine := filepath.Join(d.build, autoConf)
	for _, name := range slices.Compact([]string{converted, old}) {
		data, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		before, err := os.ReadFile(mine)
		if err != nil {
			return err
		}
		if err := os.WriteFile(mine, data, 0o600); err != nil { // the file is there, with its owner
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		conf := filepath.Join(d.new.work, "new", "postgresql.conf")
		err = os.WriteFile(conf, nil, 0o644)
		if err == nil {
			_, err = d.new.output(ctx, d.new.bin+"/postgres", "-D", d.seen(d.build), "-c", "config_file=/tmp/new/postgresql.conf", "-C", "max_connections")
		}
		cancel()
		if err == nil {
			return nil
		}
		d.o.Log.Warn("settings of ALTER SYSTEM are not taken over", "service", d.service, "file", name, "err", err)
		if err := os.WriteFile(mine, before, 0o600); err != nil {
			return err
		}
	}
	return nil
}
