package steps

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// MariaDB carries its configuration: 10.5 ↔ 10.11 ↔ 11.8. The server does not start with one option that it does not know.
// [mysqld] and [mariadbd] mean the same on all sides and stay.
func MariaDB() []convert.Step {
	const source = "measured: mariadbd --help --verbose of both"
	var out []convert.Step
	for _, old := range []int{11, 12} {
		add := func(name, title string, class convert.Class, f func(*convert.Work) error) {
			out = append(out, convert.Step{
				ID: fmt.Sprintf("mariadb-%s-%d", name, old), Service: "mariadb", Old: old, Class: class, Title: "MariaDB: " + title, Source: source, Forward: f, Back: f,
			})
		}
		gone := map[int]string{
			11: "innodb_mutexes, wsrep_replicate_myisam, innodb_file_format, innodb_buffer_pool_instances, …",
			12: "old_alter_table, max_tmp_tables, innodb_change_buffer_max_size, innodb_defragment, date_format; binlog_space_limit, max_tmp_session_space_usage, …",
		}[old]
		if old == 12 {
			out = append(out, convert.Step{
				ID: "mariadb-files", Service: "mariadb", Old: 12, Class: convert.Moved, Title: "MariaDB: 50-mysql-clients.cnf ↔ 50-mariadb-clients.cnf",
				Source:  "measured: conffiles of both packages",
				Forward: mariaMove("50-mysql-clients.cnf", "50-mariadb-clients.cnf"), Back: mariaMove("50-mariadb-clients.cnf", "50-mysql-clients.cnf"),
			})
			out = append(out, mariaRightsStep())
			add("plugins", "plugins that one side lacks (plugin_load_add)", convert.Package, mariaPlugins)
			add("values", "words in optimizer_switch, old_mode and innodb_doublewrite that one side does not know", convert.Approximated, mariaValues)
		}
		add("unknown", "options that one side does not know or ignores: "+gone, convert.Ignored, mariaUnknown)
		add("sections", "sections for one version: "+map[int]string{11: "[mariadb-10.5] ↔ [mariadb-10.11]", 12: "[mariadb-10.11] ↔ [mariadb-11.8]"}[old], convert.Rewritten, mariaSections)
		add("defaults", map[int]string{
			11: "innodb_flush_method, explicit_defaults_for_timestamp",
			12: "character set and collation, innodb_snapshot_isolation",
		}[old], convert.Pinned, mariaPins)
	}
	return out
}

func mariaVersion(w *convert.Work, to bool) string {
	r := w.From
	if to {
		r = w.To
	}
	if parts := strings.Split(r.Services["mariadb"].Version, "."); len(parts) > 2 {
		return parts[0] + "." + parts[1]
	}
	return map[int]string{11: "10.5", 12: "10.11", 13: "11.8"}[r.Number]
}

const mariaDir = "etc/mysql/mariadb.conf.d/"

func mariaFiles(w *convert.Work) []state.Path {
	return w.Changed("etc/mysql/my.cnf", "etc/mysql/mariadb.cnf", "etc/mysql/conf.d/*.cnf", mariaDir+"*.cnf")
}

// ofServer tells whether the server of one of the two sides reads a section.
func ofServer(w *convert.Work, section string) bool {
	name, version, has := strings.Cut(section, "-")
	return slices.Contains([]string{"mysqld", "mariadbd", "mariadb", "server", "galera"}, name) &&
		(!has || version == mariaVersion(w, false) || version == mariaVersion(w, true))
}

// option gives an option the name that the server lists; loose ones never keep it from starting.
func option(w *convert.Work, name string) (string, bool) {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	if strings.HasPrefix(name, "loose_") {
		return "", false
	}
	if w.From.Knows("mariadb", name) || w.To.Knows("mariadb", name) {
		return name, true
	}
	for _, prefix := range []string{"skip_", "disable_", "enable_", "maximum_"} {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			return short, true
		}
	}
	return name, true
}

func mariaEach(w *convert.Work, f func(d *conf.Doc, p state.Path, l *conf.Line, name string)) error {
	for _, p := range mariaFiles(w) {
		edit(w, conf.MySQL(), p, func(d *conf.Doc) {
			for _, l := range d.Settings() {
				if name, ok := option(w, l.Name); ok && ofServer(w, l.Section) {
					f(d, p, l, name)
				}
			}
		})
	}
	return nil
}

func mariaMove(from, to state.Path) func(*convert.Work) error {
	return func(w *convert.Work) error {
		for _, p := range w.Changed(mariaDir + string(from)) {
			w.Tell(convert.Finding{Path: p, What: fmt.Sprintf("This file is called %s there.", to)})
			w.Move(p, mariaDir+to)
		}
		return nil
	}
}

func mariaUnknown(w *convert.Work) error {
	notes := map[string]note{
		"old_alter_table": {
			class: convert.Approximated, what: "; tables are altered the quickest way",
			next: "Name an ALGORITHM in ALTER TABLE where it matters.",
		},
		"max_tmp_tables":                  {class: convert.Ignored, what: ", and it never had an effect"},
		"innodb_change_buffer_max_size":   {class: convert.Ignored, what: ", and has no change buffer"},
		"innodb_change_buffering":         {class: convert.Ignored, what: ", and has no change buffer"},
		"innodb_buffer_pool_in_core_dump": {class: convert.Ignored, what: ", which was for its programmers"},
		"debug_no_thread_alarm":           {class: convert.Ignored, what: ", which was for its programmers"},
		"date_format":                     {class: convert.Ignored, what: ", and it never had an effect"},
		"time_format":                     {class: convert.Ignored, what: ", and it never had an effect"},
		"datetime_format":                 {class: convert.Ignored, what: ", and it never had an effect"},
		"wsrep_causal_reads": {
			class: convert.Approximated, what: "; reads in a cluster may be older",
			next: "Set wsrep_sync_wait = 1.",
		},
		"wsrep_replicate_myisam": {
			class: convert.Approximated, what: "; it is a word of wsrep_mode",
			next: "Set wsrep_mode = REPLICATE_MYISAM there.",
		},
		"wsrep_strict_ddl": {
			class: convert.Approximated, what: "; it is a word of wsrep_mode",
			next: "Set wsrep_mode = STRICT_REPLICATION there.",
		},
		"binlog_space_limit": {
			class: convert.Approximated, what: "; its binary logs may fill the disk",
			next: "Set binlog_expire_logs_seconds.",
		},
		"max_binlog_total_size": {
			class: convert.Approximated, what: "; its binary logs may fill the disk",
			next: "Set binlog_expire_logs_seconds.",
		},
		"max_tmp_session_space_usage":    {class: convert.Approximated, what: "; one query may fill the disk with temporary tables"},
		"max_tmp_total_space_usage":      {class: convert.Approximated, what: "; queries may fill the disk with temporary tables"},
		"innodb_data_file_buffering":     {class: convert.Approximated, what: "; see innodb_flush_method there"},
		"innodb_data_file_write_through": {class: convert.Approximated, what: "; see innodb_flush_method there"},
		"innodb_log_file_write_through":  {class: convert.Approximated, what: "; see innodb_flush_method there"},
		"character_set_collations": {
			class: convert.Approximated, what: "; a table made without a collation gets the old one of its character set",
			next: "Name the collation where tables are made.",
		},
		"block_encryption_mode": {
			class: convert.Approximated, what: ": AES_ENCRYPT without a mode uses aes-128-ecb",
			next: "Name the mode as the function's last argument, where both releases know it.",
		},
		"redirect_url": {class: convert.Approximated, what: "; clients are not sent elsewhere"},
	}
	return mariaEach(w, func(d *conf.Doc, p state.Path, l *conf.Line, name string) {
		if !unknown(w, "mariadb", name) {
			return
		}
		n, ok := notes[name]
		if !ok { // costs of the optimizer, sizes and other tuning
			n = note{class: convert.Ignored, what: " any more, and chooses by itself"}
			if w.To.Number < w.From.Number {
				n.what = ", and chooses by itself"
			}
		}
		if sameDefault(w, "mariadb", name, conf.MySQL().Plain(l.Value)) {
			n = note{class: convert.Ignored, what: ", and the line says what is done anyway"}
		}
		takeOut(w, d, p, l, "MariaDB", n)
	})
}

func mariaValues(w *convert.Work) error {
	gone := map[string][]string{"optimizer_switch": {"engine_condition_pushdown"}}
	if w.To.Number < w.From.Number {
		gone = map[string][]string{"optimizer_switch": {"sargable_casefold"}, "old_mode": {"OLD_FLUSH_STATUS"}}
	}
	return mariaEach(w, func(d *conf.Doc, p state.Path, l *conf.Line, name string) {
		value := conf.MySQL().Plain(l.Value)
		if name == "collation_server" && strings.Contains(value, "_0900_") && w.To.Number < w.From.Number {
			takeOut(w, d, p, l, "MariaDB", note{
				class: convert.Blocking, what: " " + value + " and would not start: new databases would sort and compare otherwise, and tables that have it cannot be opened",
				next: "Use one that both know: utf8mb4_uca1400_ai_ci.",
			})
			return
		}
		if name == "innodb_doublewrite" && strings.EqualFold(value, "fast") && w.To.Number < w.From.Number {
			w.Tell(convert.Finding{
				Path: p, Line: l.No,
				What: "MariaDB of " + there(w) + " does not know “fast”; innodb_doublewrite is on there, which is as safe and a little slower.",
			})
			d.Set(l, "ON")
			return
		}
		var left []string
		var out []string
		for _, word := range list(value) {
			if slices.ContainsFunc(gone[name], func(g string) bool { return strings.HasPrefix(strings.ToLower(word)+"=", strings.ToLower(g)+"=") }) {
				out = append(out, word)
			} else {
				left = append(left, word)
			}
		}
		if len(out) == 0 {
			return
		}
		w.Tell(convert.Finding{
			Path: p, Line: l.No, What: fmt.Sprintf("MariaDB of %s does not know %s in %s and would not start; it is taken out.", there(w), strings.Join(out, ", "), l.Name),
		})
		if len(left) == 0 {
			d.CommentOut(l, "not known to "+there(w))
			return
		}
		quote := ""
		if value != l.Value {
			quote = l.Value[:1]
		}
		d.Set(l, quote+strings.Join(left, ",")+quote)
	})
}

// mariaPlugins tells of plugins that are in one side's package and not in the other's; the server would go on without them, and without the users that
// they let in or the tables that they keep.
func mariaPlugins(w *convert.Work) error {
	return mariaEach(w, func(_ *conf.Doc, p state.Path, l *conf.Line, name string) {
		if name != "plugin_load" && name != "plugin_load_add" {
			return
		}
		for _, m := range strings.FieldsFunc(conf.MySQL().Plain(l.Value), func(r rune) bool { return r == ';' || r == ',' }) {
			if _, file, named := strings.Cut(m, "="); named {
				m = file
			}
			if m = strings.TrimSuffix(strings.TrimSpace(m), ".so"); missing(w, "mariadb", m) {
				w.Tell(convert.Finding{
					Path: p, Line: l.No, What: fmt.Sprintf("MariaDB of %s has no plugin %s; what needs it does not work there.", there(w), m),
					Next: "Build that server's image with the package that has it (mariadb-plugin-…).",
				})
			}
		}
	})
}

// mariaSections has the other version read what is for this one alone.
func mariaSections(w *convert.Work) error {
	from, to := mariaVersion(w, false), mariaVersion(w, true)
	for _, p := range mariaFiles(w) {
		edit(w, conf.MySQL(), p, func(d *conf.Doc) {
			for _, s := range d.Sections() {
				name, version, _ := strings.Cut(s.Name, "-")
				if version != from || len(settingsOf(d, s.Name)) == 0 {
					continue
				}
				w.Tell(convert.Finding{
					Path: p, Line: s.No,
					What: fmt.Sprintf("Section [%s] is for version %s alone; it is [%s-%s] there.", s.Name, from, name, to),
				})
				d.Rename(s, name+"-"+to)
			}
		})
	}
	return nil
}

func settingsOf(d *conf.Doc, section string) []*conf.Line {
	return slices.DeleteFunc(d.Settings(), func(l *conf.Line) bool { return l.Section != section })
}

// mariaPins writes what the other version assumes otherwise into a file of its own, behind the image's and before people's. What
// only a stock file of this
// image says counts as assumed: that file follows the image.
func mariaPins(w *convert.Work) error {
	pins := []pin{
		{"character_set_server", "new databases keep text as before"},
		{"collation_server", "new databases sort and compare as before"},
		{"innodb_snapshot_isolation", "programs that do not expect error 1020 go on working"},
		{"innodb_flush_method", "files are written as before"},
		{"explicit_defaults_for_timestamp", "TIMESTAMP columns of new tables are as before"},
	}
	said, stock := map[string]bool{}, map[string]string{}
	charset, _ := w.From.Default("mariadb", "character_set_server")
	people := false
	for _, p := range w.Paths("etc/mysql/my.cnf", "etc/mysql/mariadb.cnf", "etc/mysql/conf.d/*.cnf", mariaDir+"*.cnf") {
		f, _ := w.Get(p)
		if f.Entry.Kind != state.File {
			continue
		}
		for _, l := range conf.Parse(conf.MySQL(), f.Data).Settings() {
			name, ok := option(w, l.Name)
			switch {
			case !ok || !ofServer(w, l.Section):
			case f.Stock, path.Base(string(p)) == "71-atlas-address.cnf": // written by the image at each start
				stock[name] = conf.MySQL().Plain(l.Value)
			default:
				people, said[name] = true, true
			}
			if ok && name == "character_set_server" && ofServer(w, l.Section) { // files are read in this order
				charset = conf.MySQL().Plain(l.Value)
			}
		}
	}
	if !people {
		return nil
	}
	p := state.Path(fmt.Sprintf(mariaDir+"72-debian-%d.cnf", w.From.Number))
	var set []string
	var told []string
	for _, n := range pins {
		was, ok := w.From.Default("mariadb", n.param)
		is, okTo := w.To.Default("mariadb", n.param)
		if v, has := stock[n.param]; has && ok {
			was = v
		}
		if n.param == "collation_server" { // it goes with the character set
			was, is = collation(w.From.Number, charset, stock[n.param]), collation(w.To.Number, charset, "")
			if w.To.Number < 13 && charset != "utf8mb4" && said["character_set_server"] { // the image's own file there says one of utf8mb4, and the two do not fit
				is = "one of utf8mb4"
			}
		}
		if !ok || !okTo || plainWord(was) == plainWord(is) || said[n.param] {
			continue
		}
		set = append(set, fmt.Sprintf("%-31s= %s", n.param, onOff(was)))
		told = append(told, fmt.Sprintf("%s was not said and means %s here and %s there; it is written into %s, so that %s.",
			n.param, onOff(was), onOff(is), path.Base(string(p)), n.why))
	}
	if len(told) == 0 {
		return nil
	}
	if _, has := w.Get(p); !has {
		w.Write(p, fmt.Appendf(nil, "# As MariaDB of Debian %d had it, where that of Debian %d has other defaults. Written when the configuration was\n"+
			"# converted; what files after this one say counts more.\n[mariadbd]\n", w.From.Number, w.To.Number))
	}
	edit(w, conf.MySQL(), p, func(d *conf.Doc) { d.Append("mariadbd", set...) })
	for _, what := range told {
		w.Tell(convert.Finding{Path: p, What: what})
	}
	return nil
}

// collation is the one that a server takes for a character set: what a file says, if it fits, or the character set's own, which is another one in
// the newer release for Unicode. Measured: SHOW COLLATION WHERE `Default` = 'Yes'.
func collation(release int, charset, file string) string {
	charset = strings.ToLower(charset)
	if charset == "utf8" {
		charset = "utf8mb3"
	}
	if strings.HasPrefix(strings.ToLower(file), charset+"_") {
		return file
	}
	switch charset {
	case "binary":
		return charset
	case "latin1", "dec8", "swe7":
		return charset + "_swedish_ci"
	case "big5", "gb2312", "gbk":
		return charset + "_chinese_ci"
	case "sjis", "ujis", "cp932", "eucjpms":
		return charset + "_japanese_ci"
	case "euckr":
		return charset + "_korean_ci"
	case "latin5":
		return charset + "_turkish_ci"
	case "tis620":
		return charset + "_thai_ci"
	case "hp8":
		return charset + "_english_ci"
	case "utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32":
		if release >= 13 {
			return charset + "_uca1400_ai_ci"
		}
	}
	return charset + "_general_ci"
}

func onOff(v string) string {
	switch v {
	case "TRUE":
		return "ON"
	case "FALSE":
		return "OFF"
	}
	return v
}
