package steps

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// PostgreSQL carries the configuration of Debian's clusters: 13 ↔ 15 ↔ 17. The server does not start with one setting that it does not know.
// Data are brought forward elsewhere.
func PostgreSQL() []convert.Step {
	var out []convert.Step
	for _, old := range []int{11, 12} {
		id := func(name string) string { return fmt.Sprintf("postgresql-%s-%d", name, old) }
		step := convert.Step{Service: "postgresql", Old: old, Source: "measured: postgres --describe-config and postgres -C of both"}
		add := func(name, title string, class convert.Class, f func(*convert.Work) error) {
			s := step
			s.ID, s.Title, s.Class, s.Forward, s.Back = id(name), "PostgreSQL: "+title, class, f, f
			out = append(out, s)
		}
		versions := map[int]string{11: "13 ↔ 15", 12: "15 ↔ 17"}[old]
		gone := map[int]string{
			11: "operator_precedence_warning, stats_temp_directory, vacuum_cleanup_index_scale_factor",
			12: "promote_trigger_file, old_snapshot_threshold, vacuum_defer_cleanup_age, db_user_namespace; scram_iterations, summarize_wal, reserved_connections, …",
		}[old]
		add("unknown", "settings that one side does not know: "+gone, convert.Approximated, pgUnknown)
		if old == 12 {
			add("names", "force_parallel_mode ↔ debug_parallel_query, trace_recovery_messages", convert.Renamed, pgNames)
			add("values", "maintenance_work_mem below 1 MB", convert.Approximated, pgValues)
			out[len(out)-1].Forward = nil
			add("zones", "old names of time zones, which are in a package of their own (tzdata-legacy)", convert.Rewritten, pgZones)
			out[len(out)-1].Back = nil
		} else {
			add("password-word", "password_encryption = on", convert.Rewritten, pgPasswordWord)
			out[len(out)-1].Back = nil
			add("hba", "passwords kept as md5 under the stock pg_hba.conf, which asks for scram", convert.Data, pgHBA)
			out[len(out)-1].Back = nil
			add("defaults", "password_encryption, checkpoint_completion_target, hash_mem_multiplier, log_checkpoints", convert.Pinned, pgPins)
		}
		if old == 12 {
			add("access", "pg_hba.conf and pg_ident.conf: patterns (/…) as names, include, and all and +group for users", convert.Blocking, pgAccess)
			out[len(out)-1].Forward = nil
		}
		add("libraries", "preloaded libraries that the other side lacks", convert.Package, pgLibraries)
		add("paths", "paths in settings (/etc/postgresql/"+versions+"/…)", convert.Rewritten, pgPaths)
		add("directory", "/etc/postgresql/"+versions, convert.Moved, pgMove)
	}
	return out
}

// pgVersion is the major version of a release.
func pgVersion(w *convert.Work, to bool) string {
	r := w.From
	if to {
		r = w.To
	}
	major, _, _ := strings.Cut(r.Services["postgresql"].Version, ".")
	return cmp.Or(major, map[int]string{11: "13", 12: "15", 13: "17"}[r.Number])
}

// pgFiles are the files of settings that people have changed. On the way back they have been moved before all else.
func pgFiles(w *convert.Work) []state.Path {
	var patterns []string
	for _, v := range []string{pgVersion(w, false), pgVersion(w, true)} {
		patterns = append(patterns, "etc/postgresql/"+v+"/*/postgresql.conf", "etc/postgresql/"+v+"/*/conf.d/*.conf", "var/lib/postgresql/"+v+"/*/postgresql.auto.conf")
	}
	return slices.DeleteFunc(w.Changed(patterns...), func(p state.Path) bool {
		return path.Base(string(p)) == "00-atlas.conf" // written by the image at each start
	})
}

// pgEach has f look at every setting of every changed file.
func pgEach(w *convert.Work, f func(d *conf.Doc, p state.Path, l *conf.Line, name string)) error {
	for _, p := range pgFiles(w) {
		edit(w, conf.PostgreSQL(), p, func(d *conf.Doc) {
			for _, l := range d.Settings() {
				f(d, p, l, strings.ToLower(l.Name))
			}
		})
	}
	return nil
}

func pgUnknown(w *convert.Work) error {
	notes := map[string]note{
		"promote_trigger_file": {
			class: convert.Approximated, what: "; a standby becomes a primary by command only",
			next: "Use pg_ctlcluster … promote, or SELECT pg_promote(), there.",
		},
		"old_snapshot_threshold": {
			class: convert.Approximated, what: "; long queries keep old rows as long as they last",
			next: "End long ones by idle_in_transaction_session_timeout.",
		},
		"vacuum_defer_cleanup_age": {
			class: convert.Approximated, what: "; queries on a standby may be cancelled",
			next: "Set hot_standby_feedback = on on the standby.",
		},
		"db_user_namespace": {
			class: convert.Blocking, what: ": users called name@database could not log in",
			next: "Give these users names without a database, and say in pg_hba.conf who may use which.",
		},
		"operator_precedence_warning":       {class: convert.Ignored, what: ", and warns of nothing"},
		"stats_temp_directory":              {class: convert.Ignored, what: ", and keeps statistics in memory"},
		"vacuum_cleanup_index_scale_factor": {class: convert.Ignored, what: ", and has ignored it for long"},
		"allow_alter_system": {
			class: convert.Approximated, what: "; ALTER SYSTEM works there",
			next: "Keep superusers' roles to those who may change settings.",
		},
		"reserved_connections": {
			class: convert.Approximated, what: "; only superusers have connections of their own",
			next: "Raise superuser_reserved_connections if monitoring must come in.",
		},
		"scram_iterations": {class: convert.Approximated, what: "; passwords that are set there get 4096 rounds"},
		"transaction_timeout": {
			class: convert.Approximated, what: "; long transactions go on",
			next: "statement_timeout and idle_in_transaction_session_timeout are there.",
		},
		"summarize_wal":          {class: convert.Approximated, what: "; backups there are whole ones only"},
		"sync_replication_slots": {class: convert.Approximated, what: "; slots do not follow a failover"},
		"createrole_self_grant":  {class: convert.Ignored, what: ", and roles with CREATEROLE may do more there"},
		"event_triggers":         {class: convert.Approximated, what: "; event triggers fire there"},
	}
	return pgEach(w, func(d *conf.Doc, p state.Path, l *conf.Line, name string) {
		if !unknown(w, "postgresql", name) || slices.Contains([]string{"force_parallel_mode", "debug_parallel_query", "trace_recovery_messages"}, name) {
			return
		}
		n, ok := notes[name]
		if !ok { // sizes of buffers, costs, and other tuning
			n = note{class: convert.Ignored, what: ", and chooses by itself"}
		}
		if sameDefault(w, "postgresql", name, conf.PostgreSQL().Plain(l.Value)) {
			n = note{class: convert.Ignored, what: ", and the line says what is done anyway"}
		}
		takeOut(w, d, p, l, "PostgreSQL", n)
	})
}

// pgNames has what is called otherwise. The server's own listing leaves these out, as they are for its programmers.
func pgNames(w *convert.Work) error {
	return pgEach(w, func(d *conf.Doc, p state.Path, l *conf.Line, name string) {
		switch {
		case name == "force_parallel_mode" && w.To.Number == 13:
			takeOut(w, d, p, l, "PostgreSQL", note{class: convert.Renamed, name: "debug_parallel_query"})
		case name == "debug_parallel_query" && w.To.Number == 12:
			takeOut(w, d, p, l, "PostgreSQL", note{class: convert.Renamed, name: "force_parallel_mode"})
		case name == "trace_recovery_messages" && w.To.Number == 13:
			takeOut(w, d, p, l, "PostgreSQL", note{class: convert.Ignored, what: ", which was for its programmers"})
		}
	})
}

// pgValues: the older server takes no less than a megabyte.
func pgValues(w *convert.Work) error {
	return pgEach(w, func(d *conf.Doc, p state.Path, l *conf.Line, name string) {
		var kb int
		value := conf.PostgreSQL().Plain(l.Value)
		if name != "maintenance_work_mem" {
			return
		}
		if _, err := fmt.Sscanf(strings.TrimSuffix(value, "kB"), "%d", &kb); err != nil || kb >= 1024 || strings.TrimRight(strings.TrimSuffix(value, "kB"), "0123456789 ") != "" {
			return
		}
		w.Tell(convert.Finding{
			Path: p, Line: l.No,
			What: fmt.Sprintf("PostgreSQL of %s takes no less than 1MB for maintenance_work_mem and would not start with %s; it gets 1MB.", there(w), value),
		})
		d.Set(l, "1MB")
	})
}

func pgZones(w *convert.Work) error {
	if _, ok := w.To.Packages["tzdata-legacy"]; ok {
		return nil
	}
	zones := legacyZones()
	return pgEach(w, func(d *conf.Doc, p state.Path, l *conf.Line, name string) {
		if name != "timezone" && name != "log_timezone" {
			return
		}
		zone := conf.PostgreSQL().Plain(l.Value)
		if now, ok := zones[strings.ToLower(zone)]; ok {
			w.Tell(convert.Finding{
				Path: p, Line: l.No,
				What: fmt.Sprintf("The time zone %s is not there, and PostgreSQL would not start; %s is the same zone.", zone, now),
			})
			d.Set(l, "'"+now+"'")
		}
	})
}

func pgPasswordWord(w *convert.Work) error {
	return pgEach(w, func(d *conf.Doc, p state.Path, l *conf.Line, name string) {
		if v := conf.PostgreSQL().Plain(l.Value); name == "password_encryption" && plainWord(v) == "yes" {
			w.Tell(convert.Finding{
				Path: p, Line: l.No,
				What: "password_encryption = " + v + " is no word of PostgreSQL's there, which would not start; md5 means the same.",
			})
			d.Set(l, "md5")
		}
	})
}

// pgHBA: a list of who may log in that people have changed says md5 still, which takes passwords of either kind; the stock one follows the image.
func pgHBA(w *convert.Work) error {
	v := pgVersion(w, false)
	for _, p := range w.Paths("etc/postgresql/" + v + "/*/pg_hba.conf") {
		f, _ := w.Get(p)
		if !f.Stock {
			continue
		}
		for _, l := range conf.Parse(conf.HBA(), f.Data).Settings() {
			if slices.Contains(strings.Fields(l.Value), "md5") && len(pgFiles(w)) > 0 {
				w.Tell(convert.Finding{
					Path: p, Line: l.No,
					What: fmt.Sprintf("The list of %s asks for scram-sha-256 where this one says md5: users whose passwords are kept as md5 cannot log in there.", there(w)),
					Next: `Set their passwords anew there (\password in psql), or write md5 into pg_hba.conf.`,
				})
				break
			}
		}
	}
	return nil
}

func pgLibraries(w *convert.Work) error {
	return pgEach(w, func(_ *conf.Doc, p state.Path, l *conf.Line, name string) {
		switch name {
		case "shared_preload_libraries", "session_preload_libraries", "local_preload_libraries", "archive_library":
		default:
			return
		}
		modules := w.To.Services["postgresql"].Modules
		for _, m := range list(conf.PostgreSQL().Plain(l.Value)) {
			m = strings.TrimSuffix(path.Base(strings.Trim(m, `"`)), ".so")
			if len(modules) == 0 || slices.Contains(pgOwnLibraries(), m) || slices.ContainsFunc(modules, func(have string) bool { return strings.TrimSuffix(path.Base(have), ".so") == m }) {
				continue
			}
			w.Tell(convert.Finding{
				Path: p, Line: l.No,
				What: fmt.Sprintf("PostgreSQL %s of %s has no library %s (%s) and would not start, or let nobody in.", pgVersion(w, true), there(w), m, l.Name),
				Next: "Build that server's image with the package that has it (postgresql-" + pgVersion(w, true) + "-…), or take the library out.",
			})
		}
	})
}

// pgOwnLibraries are the server's own that can be preloaded and are no extensions, so that facts may not list them; they are in all three releases.
func pgOwnLibraries() []string {
	return []string{"auto_explain", "auth_delay", "passwordcheck", "sepgsql", "plpgsql", "pg_stat_statements", "pg_prewarm"}
}

// pgPaths rewrites the version in paths and in what Debian's own file says.
func pgPaths(w *convert.Work) error {
	from, to := pgVersion(w, false), pgVersion(w, true)
	swap := strings.NewReplacer(
		"/etc/postgresql/"+from+"/", "/etc/postgresql/"+to+"/",
		"/var/lib/postgresql/"+from+"/", "/var/lib/postgresql/"+to+"/",
		"/usr/lib/postgresql/"+from+"/", "/usr/lib/postgresql/"+to+"/",
		"/usr/share/postgresql/"+from+"/", "/usr/share/postgresql/"+to+"/",
		"/run/postgresql/"+from+"-", "/run/postgresql/"+to+"-",
	)
	return pgEach(w, func(d *conf.Doc, p state.Path, l *conf.Line, name string) {
		now := swap.Replace(l.Value)
		if name == "cluster_name" && strings.HasPrefix(conf.PostgreSQL().Plain(l.Value), from+"/") {
			now = strings.Replace(l.Value, from+"/", to+"/", 1)
		}
		if now == l.Value {
			return
		}
		w.Tell(convert.Finding{Path: p, Line: l.No, What: fmt.Sprintf("%s names PostgreSQL %s; it is %s there.", l.Name, from, now)})
		d.Set(l, now)
	})
}

// pgMove moves what people have changed to where the other version looks for it.
func pgMove(w *convert.Work) error {
	from, to := pgVersion(w, false), pgVersion(w, true)
	for _, dir := range []state.Path{"etc/postgresql/", "var/lib/postgresql/"} {
		old := dir + state.Path(from)
		told := map[string]bool{}
		for _, p := range w.Under(old) {
			f, ok := w.Get(p)
			if !ok || f.Stock || f.Entry.Kind == state.Dir {
				continue
			}
			cluster, _, _ := strings.Cut(string(p[len(old)+1:]), "/")
			if !told[cluster] && dir == "etc/postgresql/" {
				told[cluster] = true
				w.Tell(convert.Finding{
					Path: p,
					What: fmt.Sprintf("The configuration of cluster %s lies in /etc/postgresql/%s/%s there.", cluster, to, cluster),
				})
			}
			w.Move(p, dir+state.Path(to)+p[len(old):])
		}
	}
	return nil
}

// pgPins writes what the other version assumes otherwise into a file of its own that is read before people's.
func pgPins(w *convert.Work) error {
	pins := []pin{
		{"password_encryption", "passwords are kept so that the same clients can log in"},
		{"checkpoint_completion_target", "writing is spread as before"},
		{"hash_mem_multiplier", "queries take as much memory as before"},
		{"log_checkpoints", "the log says as much as before"},
	}
	said := map[string]map[string]bool{} // by directory
	for _, p := range pgFiles(w) {
		if !p.Under("etc") {
			continue
		}
		cluster := strings.Join(strings.Split(string(p), "/")[:4], "/")
		if said[cluster] == nil {
			said[cluster] = map[string]bool{}
		}
	}
	for _, cluster := range slices.Sorted(maps.Keys(said)) {
		names := said[cluster]
		dir := state.Path(cluster)
		for _, p := range w.Paths(string(dir)+"/postgresql.conf", string(dir)+"/conf.d/*.conf") {
			for _, l := range conf.Parse(conf.PostgreSQL(), w.Text(p)).Settings() {
				names[strings.ToLower(l.Name)] = true
			}
		}
		p := dir + state.Path(fmt.Sprintf("/conf.d/01-debian-%d.conf", w.From.Number))
		var set, told []string
		for _, n := range pins {
			was, ok := w.From.Default("postgresql", n.param)
			is, okTo := w.To.Default("postgresql", n.param)
			if !ok || !okTo || plainWord(was) == plainWord(is) || names[n.param] {
				continue
			}
			set = append(set, fmt.Sprintf("%s = '%s'", n.param, was))
			told = append(told, fmt.Sprintf("%s was not said and means %s here and %s there; it is written out, so that %s.",
				n.param, was, is, n.why))
		}
		if len(told) == 0 {
			continue
		}
		set = append([]string{fmt.Sprintf("# As PostgreSQL of Debian %d had it, where that of Debian %d has other defaults.", w.From.Number, w.To.Number)}, set...)
		if main := dir + "/postgresql.conf"; len(w.Text(main)) > 0 && !names["include_dir"] {
			p = main // reads no other file; what is not said in it can be said anywhere in it
			edit(w, conf.PostgreSQL(), p, func(d *conf.Doc) { d.Append("", set...) })
		} else {
			if _, has := w.Get(p); !has {
				w.Put(p, convert.File{Entry: state.Entry{Kind: state.File, Mode: 0o640, Owner: "postgres", Group: "postgres"}})
			}
			edit(w, conf.PostgreSQL(), p, func(d *conf.Doc) { d.Append("", set...) })
		}
		for _, what := range told {
			w.Tell(convert.Finding{Path: p, What: what})
		}
	}
	return nil
}
