package steps

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// OpenLDAP carries cn=config, as the files of slapd.d and as the text that the pack exports, and slapd.conf: 2.4 ↔ 2.5 ↔ 2.6. slapd warns of a file of
// slapd.d whose checksum is wrong, and writes it anew; so the checksum goes with what is changed.
func OpenLDAP() []convert.Step {
	const measured = "measured: slaptest and slapadd of both"
	return []convert.Step{
		{
			ID: "openldap-backends", Service: "openldap", Old: 11, Class: convert.Rewritten,
			Title:   "OpenLDAP: backends hdb and bdb → mdb, in cn=config and slapd.conf; entries need to be brought over",
			Source:  "upgrade notes of OpenLDAP 2.5; " + measured,
			Forward: ldapBackends,
		},
		{
			ID: "openldap-ppolicy", Service: "openldap", Old: 11, Class: convert.Rewritten,
			Title:   "OpenLDAP: schema ppolicy, which is built into the overlay since 2.5",
			Source:  "upgrade notes of OpenLDAP 2.5; " + measured,
			Forward: ldapPPolicy, Back: ldapPPolicyBack,
		},
		{
			ID: "openldap-modules-11", Service: "openldap", Old: 11, Class: convert.Package,
			Title:   "OpenLDAP: module pw-argon2 ↔ argon2; modules that one side lacks (back_shell)",
			Source:  "measured: modules in the packages of both",
			Forward: ldapModules, Back: ldapModules,
		},
		{
			ID: "openldap-slapd-conf-11", Service: "openldap", Old: 11, Class: convert.Data,
			Title:   "OpenLDAP: slapd.conf → cn=config",
			Source:  "slaptest(8); the pack openldap starts slapd with cn=config alone",
			Forward: ldapSlapdConf,
		},
		{
			ID: "openldap-modules", Service: "openldap", Old: 12, Class: convert.Package,
			Title:   "OpenLDAP: modules that one side lacks (nestgroup)",
			Source:  "measured: modules in the packages of both",
			Forward: ldapModules, Back: ldapModules,
		},
		{
			ID: "openldap-new", Service: "openldap", Old: 12, Class: convert.Approximated,
			Title:  "OpenLDAP: olcLogFileOnly, olcLogFileFormat, olcLogFileRotate, olcPPolicyCheckModule, olcDynListSimple, olcMemberOfAddCheck, olcLastBindPrecision",
			Source: "measured: attributes in slapd and modules of both; slapadd of both",
			Back:   ldapNew,
		},
		{
			ID: "openldap-slapd-conf", Service: "openldap", Old: 12, Class: convert.Data,
			Title:   "OpenLDAP: slapd.conf → cn=config",
			Source:  "slaptest(8); the pack openldap starts slapd with cn=config alone",
			Forward: ldapSlapdConf,
		},
	}
}

const (
	ldapDir    = state.Path("etc/ldap/slapd.d")
	ldapExport = state.Path(state.Exports + "/openldap/config.ldif")
	ldapConf   = state.Path("etc/ldap/slapd.conf")
)

// ldapFiles are the texts of cn=config that people have changed.
func ldapFiles(w *convert.Work) []state.Path {
	out := w.Changed(string(ldapExport))
	for _, p := range w.Under(ldapDir) {
		if f, _ := w.Get(p); !f.Stock && f.Entry.Kind == state.File && strings.HasSuffix(string(p), ".ldif") {
			out = append(out, p)
		}
	}
	return out
}

// ldapEdit has f change the texts of cn=config one by one.
func ldapEdit(w *convert.Work, f func(state.Path, *conf.LDIF)) {
	for _, p := range ldapFiles(w) {
		was := w.Text(p)
		d := conf.ParseLDIF(was)
		f(p, d)
		if _, there := w.Get(p); there && string(d.Bytes()) != string(was) {
			d.Remove(func(l *conf.LDIFLine) bool { return strings.HasPrefix(l.Raw, "# CRC32") })
			w.Write(p, d.Bytes())
		}
	}
}

var (
	oldBackend  = regexp.MustCompile(`(?i)(olcDatabase=\{-?\d+\}|^\{-?\d+\})[hb]db\b`)
	oldClass    = regexp.MustCompile(`^olc[HB]dbConfig$`)
	moduleValue = regexp.MustCompile(`^(\{\d+\})?(\S*/)?([^/\s]+?)(\.la|\.so)?(\s.*)?$`)
)

// ofOldBackends are settings that only hdb and bdb have: caches and locks of the Berkeley database.
func ofOldBackends() []string {
	return []string{
		"olcdbcachesize", "olcdbconfig", "olcdbcryptfile", "olcdbcryptkey", "olcdbdirtyread", "olcdbidlcachesize", "olcdblinearindex", "olcdblockdetect",
		"olcdbshmkey", "olcdbcachefree", "olcdbdncachesize", "olcdbpagesize", "olcdbchecksum",
	}
}

func ldapBackends(w *convert.Work) error {
	ldapEdit(w, func(p state.Path, d *conf.LDIF) {
		old := map[int]bool{} // entries of databases that change their kind
		var mdb []int         // those that have the new one loaded
		for _, l := range d.Lines {
			old[l.Entry] = old[l.Entry] || strings.EqualFold(l.Name, "objectClass") && oldClass.MatchString(l.Value)
			if strings.EqualFold(l.Name, "olcModuleLoad") && moduleName(l.Value) == "back_mdb" {
				mdb = append(mdb, l.Entry)
			}
		}
		first := map[int]bool{}
		d.Remove(func(l *conf.LDIFLine) bool {
			switch name := strings.ToLower(l.Name); {
			case old[l.Entry] && slices.Contains(ofOldBackends(), name):
				return true
			case old[l.Entry] && (name == "objectclass" || name == "structuralobjectclass") && oldClass.MatchString(l.Value):
				l.Set("olcMdbConfig")
			case name == "dn" || name == "olcdatabase":
				if now := oldBackend.ReplaceAllString(l.Value, "${1}mdb"); now != l.Value {
					if name == "dn" && !first[l.Entry] && old[l.Entry] {
						first[l.Entry] = true
						w.Tell(convert.Finding{
							Class: convert.Data, Path: p, Line: l.At, Next: "Before the swap, on this server: slapcat > FILE; afterwards on the other: slapadd < FILE.",
							What: "The database's kind is mdb there, as hdb and bdb are gone; its entries are in files that slapd cannot read there.",
						})
					}
					l.Set(now)
				}
			case name == "olcmoduleload" && (moduleName(l.Value) == "back_hdb" || moduleName(l.Value) == "back_bdb"):
				if len(mdb) > 0 {
					return true
				}
				mdb = append(mdb, l.Entry)
				l.Set(withModule(l.Value, "back_mdb"))
			}
			return false
		})
		for entry := range old {
			sortClasses(d, entry)
			number(d, entry)
			if old[entry] && !slices.ContainsFunc(d.Lines, func(l *conf.LDIFLine) bool { return l.Entry == entry && strings.EqualFold(l.Name, "olcDbMaxSize") }) {
				d.Insert(entry, "olcDbMaxSize", "4294967296") // 10 MB if nothing is said; the file grows as it is filled
			}
		}
	})
	for _, p := range w.Under(ldapDir) {
		if to := state.Path(oldBackend.ReplaceAllString(string(p), "${1}mdb")); to != p {
			if _, ok := w.Get(p); ok {
				w.Move(p, to)
			}
		}
	}
	slapdConf(w, func(p state.Path, d *conf.Doc) {
		for _, l := range append(d.Find("database"), d.Find("backend")...) {
			if l.Value == "hdb" || l.Value == "bdb" {
				w.Tell(convert.Finding{
					Class: convert.Data, Path: p, Line: l.No, Next: "Before the swap, on this server: slapcat > FILE; afterwards on the other: slapadd < FILE.",
					What: l.Value + " is mdb there; its entries are in files that slapd cannot read there.",
				})
				d.Set(l, "mdb")
			}
		}
		for _, l := range d.Find("moduleload") {
			if m := moduleName(l.Value); m == "back_hdb" || m == "back_bdb" {
				d.Set(l, withModule(l.Value, "back_mdb"))
			}
		}
		for _, l := range d.Settings() {
			if slices.Contains(ofOldBackends(), "olcdb"+strings.ToLower(strings.TrimPrefix(l.Name, "db"))) {
				takeOut(w, d, p, l, "slapd", note{class: convert.Ignored, what: ", which belongs to hdb and bdb"})
			}
		}
	})
	return nil
}

var ppolicySchema = regexp.MustCompile(`(?i)^(dn: )?cn=\{\d+\}ppolicy\b`)

func ldapPPolicy(w *convert.Work) error {
	overlay := ldapHas(w, func(l *conf.LDIFLine) bool {
		return strings.EqualFold(l.Name, "olcModuleLoad") && moduleName(l.Value) == "ppolicy"
	})
	tell := func(p state.Path, line int) {
		f := convert.Finding{Path: p, Line: line, What: "The schema ppolicy is part of the overlay of that name there, and is taken out here."}
		if !overlay {
			f.Class = convert.Approximated
			f.What += " The overlay is not loaded, so entries with password policies (pwdPolicy) could not be read."
			f.Next = "If there are such entries, load the module ppolicy, or remove them."
		}
		w.Tell(f)
	}
	ldapEdit(w, func(p state.Path, d *conf.LDIF) {
		gone := map[int]bool{}
		for _, l := range d.Lines {
			if strings.EqualFold(l.Name, "dn") && ppolicySchema.MatchString(l.Value) && (p == ldapExport || path.Base(string(p.Dir())) == "cn=schema") {
				gone[l.Entry] = true
				tell(p, l.At)
			}
		}
		if p == ldapExport {
			d.Remove(func(l *conf.LDIFLine) bool { return gone[l.Entry] })
			numberSchemas(d)
		} else if len(gone) > 0 {
			w.Remove(p)
		}
	})
	slapdConf(w, func(p state.Path, d *conf.Doc) {
		for _, l := range d.Find("include") {
			if strings.HasPrefix(path.Base(l.Value), "ppolicy.schema") {
				tell(p, l.No)
				d.CommentOut(l, "not in "+there(w))
			}
		}
	})
	return nil
}

// ldapHas tells whether cn=config has such a line.
func ldapHas(w *convert.Work, is func(*conf.LDIFLine) bool) bool {
	return slices.ContainsFunc(ldapFiles(w), func(p state.Path) bool { return slices.ContainsFunc(conf.ParseLDIF(w.Text(p)).Lines, is) })
}

// ldapPPolicyBack: the older overlay does not start without the schema.
func ldapPPolicyBack(w *convert.Work) error {
	if ldapHas(w, func(l *conf.LDIFLine) bool {
		return strings.EqualFold(l.Name, "cn") && ppolicySchema.MatchString("cn="+l.Value)
	}) {
		return nil
	}
	ldapEdit(w, func(p state.Path, d *conf.LDIF) {
		for _, l := range d.Lines {
			if strings.EqualFold(l.Name, "olcModuleLoad") && moduleName(l.Value) == "ppolicy" {
				w.Tell(convert.Finding{
					Class: convert.Blocking, Path: p, Line: l.At, Next: "On the server with " + there(w) + ": ldapadd -Y EXTERNAL -H ldapi:/// -f /etc/ldap/schema/ppolicy.ldif.",
					What: "The overlay ppolicy needs the schema ppolicy there, which is a file of its own.",
				})
			}
		}
	})
	return nil
}

func ldapModules(w *convert.Work) error {
	has := func(m string) bool {
		all := w.To.Services["openldap"].Modules
		return slices.Contains(all, m) || slices.Contains(all, "static/"+strings.TrimPrefix(m, "back_"))
	}
	// one renames a module, or tells that it is missing.
	one := func(p state.Path, line int, value string) string {
		m := moduleName(value)
		if m == "" || has(m) {
			return value
		}
		for _, n := range [][2]string{{"pw-argon2", "argon2"}, {"argon2", "pw-argon2"}} {
			if m == n[0] && has(n[1]) {
				w.Tell(convert.Finding{Class: convert.Renamed, Path: p, Line: line, What: "The module " + m + " is called " + n[1] + " there."})
				return withModule(value, n[1])
			}
		}
		w.Tell(convert.Finding{
			Path: p, Line: line, What: fmt.Sprintf("There is no module %s in slapd of %s, and it would not start.", m, there(w)),
			Next: "Take the module and what uses it out of the configuration (ldapmodify on cn=config).",
		})
		return value
	}
	ldapEdit(w, func(p state.Path, d *conf.LDIF) {
		for _, l := range d.Lines {
			if strings.EqualFold(l.Name, "olcModuleLoad") {
				if now := one(p, l.At, l.Value); now != l.Value {
					l.Set(now)
				}
			}
		}
	})
	slapdConf(w, func(p state.Path, d *conf.Doc) {
		for _, l := range d.Find("moduleload") {
			d.Set(l, one(p, l.No, l.Value))
		}
	})
	return nil
}

func ldapNew(w *convert.Work) error {
	lost := map[string]string{
		"olclogfileonly": "it writes to the system's log as well", "olclogfileformat": "times in its log have another form", "olclogfilerotate": "its log grows until it is rotated by cron",
		"olcppolicycheckmodule": "new passwords are not looked at by that module", "olcdynlistsimple": "lists are made in the full way", "olcmemberofaddcheck": "memberOf is not set for groups that were there before their member",
		"olclastbindprecision": "the time of each login is written",
	}
	ldapEdit(w, func(p state.Path, d *conf.LDIF) {
		dn := map[int]string{}
		for _, l := range d.Lines {
			if strings.EqualFold(l.Name, "dn") {
				dn[l.Entry] = strings.ToLower(l.Value)
			}
		}
		d.Remove(func(l *conf.LDIFLine) bool {
			why, ok := lost[strings.ToLower(l.Name)]
			if !ok || strings.EqualFold(l.Name, "olcLastBindPrecision") && !strings.HasPrefix(dn[l.Entry], "olcdatabase=") { // the overlay has it in both
				return false
			}
			w.Tell(convert.Finding{Path: p, Line: l.At, What: fmt.Sprintf("slapd of %s does not know %s: %s.", there(w), l.Name, why)})
			return true
		})
	})
	return nil
}

// ldapSlapdConf: the pack's slapd reads cn=config. Making that from slapd.conf needs slapd's own program.
func ldapSlapdConf(w *convert.Work) error {
	for _, p := range w.Changed(string(ldapConf)) {
		if len(ldapFiles(w)) > 0 {
			w.Tell(convert.Finding{Class: convert.Ignored, Path: p, What: "slapd reads cn=config, which is there too, and not this file."})
			continue
		}
		w.Tell(convert.Finding{
			Class: convert.Blocking, Path: p, What: "slapd reads cn=config there, and not this file: it would serve an empty directory.",
			Next: "mkdir /etc/ldap/slapd.d; slaptest -n 0 -f /etc/ldap/slapd.conf -F /etc/ldap/slapd.d; chown -R openldap: /etc/ldap/slapd.d; then restart the service openldap.",
		})
	}
	return nil
}

// slapdConf has f change slapd.conf and what lies beside it.
func slapdConf(w *convert.Work, f func(state.Path, *conf.Doc)) {
	for _, p := range w.Changed(string(ldapConf), "etc/ldap/*.conf") {
		if path.Base(string(p)) != "ldap.conf" { // of clients
			edit(w, conf.Slapd(), p, func(d *conf.Doc) { f(p, d) })
		}
	}
}
