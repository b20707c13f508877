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

// Samba carries smb.conf: 4.13 ↔ 4.17 ↔ 4.22. The domain controller's addc.conf is written in the same words.
func Samba() []convert.Step {
	return []convert.Step{
		{
			ID: "samba-names", Service: "samba", Old: 11, Class: convert.Renamed,
			Title:   "Samba: unix extensions ↔ smb1 unix extensions, smb encrypt ↔ server smb encrypt",
			Source:  "release notes of Samba 4.14 and 4.16",
			Forward: sambaNames(false), Back: sambaNames(true),
		},
		sambaGone(11), sambaGone(12),
		{
			ID: "samba-modules", Service: "samba", Old: 12, Class: convert.Package,
			Title:   "Samba: VFS modules that one side lacks (ceph, glusterfs)",
			Source:  "measured: modules in the packages of both",
			Forward: sambaModules, Back: sambaModules,
		},
		{
			ID: "samba-defaults", Service: "samba", Old: 11, Class: convert.Pinned,
			Title:   "Samba: server multi channel support, reject md5 clients and servers, winbind scan trusted domains",
			Source:  "release notes of Samba 4.15 and 4.16",
			Forward: sambaPins, Back: sambaPins,
		},
	}
}

func sambaFiles(w *convert.Work) []state.Path { return w.Changed("etc/samba/*.conf") }

func sambaNames(back bool) func(*convert.Work) error {
	names := [][2]string{{"unix extensions", "smb1 unix extensions"}, {"smb encrypt", "server smb encrypt"}}
	return func(w *convert.Work) error {
		for _, p := range sambaFiles(w) {
			edit(w, conf.Samba(), p, func(d *conf.Doc) {
				for _, n := range names {
					from, to := n[0], n[1]
					if back {
						from, to = to, from
					}
					for _, l := range d.Find(from) {
						takeOut(w, d, p, l, "Samba", note{class: convert.Renamed, name: to})
					}
				}
			})
		}
		return nil
	}
}

func sambaGone(old int) convert.Step {
	s := convert.Step{
		ID: fmt.Sprintf("samba-unknown-%d", old), Service: "samba", Old: old, Class: convert.Ignored,
		Title:   "Samba: parameters that one side does not know",
		Source:  "measured: testparm -sv of both",
		Forward: sambaUnknown, Back: sambaUnknown,
	}
	if old == 12 {
		s.Title += ": client use spnego principal, directory name cache size, cldap port; smb3 unix extensions, sync machine password to keytab, dns hostname, …"
	} else {
		s.Title += ": share backend, NIS homedir, homedir map"
	}
	return s
}

func sambaUnknown(w *convert.Work) error {
	const sameWay = ", and does by itself what it was for"
	notes := map[string]note{
		"clientusespnegoprincipal": {class: convert.Ignored, what: ", and never takes a name from the other side, which is safer"},
		"directorynamecachesize":   {class: convert.Ignored, what: sameWay},
		"cldapport": {
			class: convert.Approximated, what: "; it answers at port 389",
			next: "Nothing, unless the domain controller is asked at another port.",
		},
		"sharebackend": {class: convert.Ignored, what: sameWay},
		"nishomedir": {
			class: convert.Blocking, what: ": homes from NIS are not found",
			next: "Name the homes' server in the users' accounts.",
		},
		"homedirmap":          {class: convert.Ignored, what: ", which was for NIS"},
		"smb3unixextensions":  {class: convert.Approximated, what: "; Linux clients see files as Windows clients do", next: "Mount with the option nounix there if a client complains."},
		"smb3directoryleases": {class: convert.Ignored, what: "; clients ask a little more often"},
		"syncmachinepasswordtokeytab": {
			class: convert.Approximated, what: ": keytabs are not written when the machine's password changes",
			next: "After a change of the machine's password there: net ads keytab create.",
		},
		"serversupportkrb5netlogon": {class: convert.Ignored, what: ", and members use the older way, which works"},
		"tlstrustsystemcas": {
			class: convert.Approximated, what: "; it trusts only the certificates of “tls cafile”",
			next: "Name /etc/ssl/certs/ca-certificates.crt as “tls cafile”.",
		},
		"tlscadirectories": {
			class: convert.Approximated, what: "; it trusts only the certificates of “tls cafile”",
			next: "Put the certificates into one file and name it as “tls cafile”.",
		},
		"addcfunctionallevel": {
			class: convert.Blocking, what: ", and can be a domain controller of level 2008 R2 only",
			next: "Leave the level of the domain at 2008 R2 as long as one server runs " + there(w) + ".",
		},
		"dnshostname": {
			class: convert.Approximated, what: "; the name is made of “netbios name” and the realm",
			next: "Look whether the two names are the same.",
		},
		"wsppropertyfile": {class: convert.Ignored, what: ", and has no search by Windows' protocol"},
	}
	for _, p := range sambaFiles(w) {
		params := map[string]string{}
		for name := range w.From.Services["samba"].Params {
			params[conf.Samba().Fold(name)] = name
		}
		edit(w, conf.Samba(), p, func(d *conf.Doc) {
			for _, l := range d.Settings() {
				folded := conf.Samba().Fold(l.Name)
				name, ok := params[folded]
				if !ok || !unknown(w, "samba", name) || slices.Contains([]string{"unixextensions", "smb1unixextensions", "smbencrypt", "serversmbencrypt"}, folded) {
					continue
				}
				n, ok := notes[folded]
				if !ok {
					n = note{class: convert.Approximated, next: "Look whether the shares do without it what they should."}
				}
				if sameDefault(w, "samba", name, l.Value) {
					n = note{class: convert.Ignored, what: ", and the line says what is done anyway"}
				}
				takeOut(w, d, p, l, "Samba", n)
			}
		})
	}
	return nil
}

func sambaModules(w *convert.Work) error {
	for _, p := range sambaFiles(w) {
		for _, l := range conf.Parse(conf.Samba(), w.Text(p)).Find("vfs objects") {
			for _, m := range list(l.Value) {
				if missing(w, "samba", m) {
					w.Tell(convert.Finding{
						Path: p, Line: l.No,
						What: fmt.Sprintf("Samba of %s has no VFS module %s here; nobody could open the share [%s] there.", there(w), m, l.Section),
						Next: "Build the image with the package that has it (samba-vfs-" + strings.TrimSuffix(m, "_snapshots") + " in Debian 13), or serve the files without it.",
					})
				}
			}
		}
	}
	return nil
}

// missing tells whether a module of a service is there on this side and not on the other.
func missing(w *convert.Work, service, module string) bool {
	has := func(modules []string) bool {
		return slices.ContainsFunc(modules, func(m string) bool { return strings.TrimSuffix(path.Base(m), ".so") == module })
	}
	to := w.To.Services[service].Modules
	return len(to) > 0 && has(w.From.Services[service].Modules) && !has(to)
}

// sambaPins writes out what the other Samba assumes otherwise, where people have changed the file; only what changes what users meet.
func sambaPins(w *convert.Work) error {
	pins := []struct {
		pin
		domain bool // only of a member or controller of a domain
		hole   bool // the old default lets attackers in: it is told, and not written out
	}{
		{pin{"server multi channel support", "clients open as many connections as before"}, false, false},
		{pin{"server min protocol", "the same clients can connect"}, false, false},
		{pin{"client min protocol", "the same servers can be reached"}, false, false},
		{pin{"ntlm auth", "the same clients can log in"}, false, false},
		{pin{"server signing", "the same clients can connect"}, false, false},
		{pin{"map to guest", "strangers are treated alike"}, false, false},
		{pin{"reject md5 clients", "the same members can log in"}, true, true},
		{pin{"reject md5 servers", "the same domain controllers are accepted"}, true, true},
		{pin{"winbind scan trusted domains", "users of trusted domains are found as before"}, true, false},
	}
	const p = state.Path("etc/samba/smb.conf")
	if len(w.Changed(string(p))) == 0 {
		return nil
	}
	edit(w, conf.Samba(), p, func(d *conf.Doc) {
		domain := len(d.FindIn("global", "realm")) > 0 || slices.ContainsFunc(d.FindIn("global", "security"), func(l *conf.Line) bool {
			return slices.Contains([]string{"ads", "domain"}, strings.ToLower(l.Value))
		})
		for _, n := range pins {
			was, ok := w.From.Default("samba", n.param)
			is, okTo := w.To.Default("samba", n.param)
			if !ok || !okTo || plainWord(was) == plainWord(is) || n.domain && !domain || len(d.FindIn("global", n.param)) > 0 {
				continue
			}
			if n.hole {
				w.Tell(convert.Finding{
					Class: convert.Approximated, Path: p,
					What: fmt.Sprintf("%s means %s here and %s there; the old way is open to attackers (CVE-2022-38023) and is not written out.", n.param, was, is),
					Next: "Bring machines up to date that cannot log in any more.",
				})
				continue
			}
			d.Append("global", fmt.Sprintf("\t# As Debian %d has it: %s.", w.From.Number, n.why), "\t"+n.param+" = "+was)
			w.Tell(convert.Finding{
				Path: p,
				What: fmt.Sprintf("%s was not said and means %s here and %s there; it is written out, so that %s.", n.param, was, is, n.why),
			})
		}
	})
	return nil
}
