package steps

import (
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Accounts carries /etc/passwd, group, shadow and gshadow, login.defs, PAM's services and the time zone. IDs of users and groups are the same in
// every image, and owners of files travel by name, so no number is changed.
func Accounts() []convert.Step {
	const measured = "measured: pwconv, grpconv, passwd, su and pwck of 12 and 13"
	return []convert.Step{
		{
			ID: "accounts-shadow-11", Old: 11, Class: convert.Moved,
			Title:   "passwords in /etc/passwd and /etc/group ↔ /etc/shadow and /etc/gshadow (not shadowed before)",
			Source:  "pwconv(8), passwd(5), shadow(5); " + measured,
			Forward: shadow, Back: unshadow,
		},
		{
			ID: "pam-tally", Old: 11, Class: convert.Approximated,
			Title:  "PAM: pam_tally, pam_tally2, pam_cracklib",
			Source: "release notes of Linux-PAM 1.4 and 1.5",
			Forward: pamGone(map[string]string{
				"pam_tally.so":    "; nobody is locked out after wrong passwords. | Use pam_faillock: man pam_faillock.",
				"pam_tally2.so":   "; nobody is locked out after wrong passwords. | Use pam_faillock: man pam_faillock.",
				"pam_cracklib.so": "; weak passwords are not refused. | Say obscure minlen=… in the line of pam_unix in /etc/pam.d/common-password.",
			}),
		},
		{
			ID: "accounts-shadow-12", Old: 12, Class: convert.Moved,
			Title:   "passwords in /etc/passwd and /etc/group ↔ /etc/shadow and /etc/gshadow (not shadowed before)",
			Source:  "pwconv(8), passwd(5), shadow(5); " + measured,
			Forward: shadow, Back: unshadow,
		},
		{
			ID: "accounts-names", Old: 12, Class: convert.Blocking,
			Title:   "names of users and groups that the other side refuses: of digits alone, with @ or +, or too long",
			Source:  "measured: pwck -r and grpck -r of both",
			Forward: accountNames, Back: accountNames,
		},
		{
			ID: "pam-lastlog", Old: 12, Class: convert.Ignored,
			Title:   "PAM: pam_lastlog",
			Source:  "release notes of Debian 13; measured: modules in the packages of both",
			Forward: pamGone(map[string]string{"pam_lastlog.so": "; logins do not tell when the last one was."}),
		},
		{
			ID: "login-defs", Old: 12, Class: convert.Ignored,
			Title:   "login.defs: FAILLOG_ENAB, FTMP_FILE, SU_NAME, SULOG_FILE; CRACKLIB_DICTPATH",
			Source:  "measured: login.defs of both; useradd, passwd and su of both with each name",
			Forward: loginDefs,
		},
		{
			ID: "timezone-names", Old: 12, Class: convert.Rewritten,
			Title:   "/etc/localtime: old names of time zones, which are in a package of their own (tzdata-legacy)",
			Source:  "measured: files of the packages tzdata and tzdata-legacy",
			Forward: localtime,
		},
		{
			ID: "timezone", Old: 12, Class: convert.Moved,
			Title:   "/etc/timezone ↔ /etc/localtime alone",
			Source:  "release notes of Debian 13; measured: files of the package tzdata",
			Forward: timezoneGone, Back: timezoneBack,
		},
	}
}

// unaged ends a line of /etc/shadow that shadow made: no age is known of the password, and none is asked. The 0 stands in a field that no program
// uses; by it and the missing date unshadow finds the lines that nobody has touched since. Who changes a password writes the date.
const unaged = ":::::::0"

// shadow does what pwconv and grpconv do, but sets no ages: where passwords were not shadowed they had none.
func shadow(w *convert.Work) error {
	hide(w, "etc/passwd", "etc/shadow", 7, func(f []string) string { return f[0] + ":" + f[1] + unaged })
	hide(w, "etc/group", "etc/gshadow", 4, func(f []string) string { return f[0] + ":" + f[1] + "::" + f[3] })
	return nil
}

// hide moves the passwords of one file into its shadow. An account that has a line there gets the password of the open file: that one counts
// as long as both are there.
func hide(w *convert.Work, open, hidden state.Path, fields int, line func([]string) string) {
	if len(w.Changed(string(open))) == 0 {
		return
	}
	list := conf.ParseAccounts(w.Text(open))
	secret := conf.ParseAccounts(w.Text(hidden))
	first, n := 0, 0
	for i := range list.Lines {
		l := &list.Lines[i]
		if l.Name() == "" || len(l.Fields) != fields || l.Fields[1] == "x" || l.Fields[1] == "*NP*" {
			continue
		}
		if n++; first == 0 {
			first = l.At
		}
		if at := secret.Find(l.Name()); at >= 0 {
			s := &secret.Lines[at]
			f := slices.Clone(s.Fields)
			f[1] = l.Fields[1]
			s.Set(f...)
		} else {
			secret.Append(line(l.Fields))
		}
		f := slices.Clone(l.Fields)
		f[1] = "x"
		l.Set(f...)
	}
	if n == 0 {
		return
	}
	w.Tell(convert.Finding{Path: open, Line: first, What: fmt.Sprintf("Passwords stand in /%s there, which only root can read; %d moved, and stay the same.", hidden, n)})
	w.Write(open, list.Bytes())
	put := convert.File{Entry: state.Entry{Kind: state.File, Mode: 0o640, Owner: "root", Group: "shadow"}}
	if f, ok := w.Get(hidden); ok && f.Entry.Kind == state.File {
		put.Entry = f.Entry
	}
	w.Put(hidden, put)
	w.Write(hidden, secret.Bytes())
}

// unshadow puts back what shadow moved, if nobody has changed a password since; else all stay where they are, which the older release can read too. It is
// all or none: pwck refuses accounts of which some stand in /etc/shadow and some do not.
func unshadow(w *convert.Work) error {
	const open, hidden = state.Path("etc/passwd"), state.Path("etc/shadow")
	if len(w.Changed(string(open))) == 0 || len(w.Changed(string(hidden))) == 0 {
		return nil
	}
	list, secret := conf.ParseAccounts(w.Text(open)), conf.ParseAccounts(w.Text(hidden))
	for _, s := range secret.Lines {
		at := list.Find(s.Name())
		if at < 0 || len(s.Fields) != 9 || strings.Join(s.Fields[2:], ":") != unaged[1:] || list.Lines[at].Fields[1] != "x" {
			return nil
		}
		f := slices.Clone(list.Lines[at].Fields)
		f[1] = s.Fields[1]
		list.Lines[at].Set(f...)
	}
	w.Tell(convert.Finding{Path: hidden, Line: 1, What: "Passwords that had been in /etc/passwd before stand there again."})
	w.Write(open, list.Bytes())
	w.Remove(hidden)
	return nil
}

// accountNames tells of names that the other release's pwck and grpck refuse. Files of accounts that do not pass them are not taken over.
func accountNames(w *convert.Work) error {
	for _, p := range w.Changed("etc/passwd", "etc/group") {
		what, change := "user", "usermod -l NEW OLD"
		if p == "etc/group" {
			what, change = "group", "groupmod -n NEW OLD"
		}
		for _, l := range conf.ParseAccounts(w.Text(p)).Lines {
			name := l.Name()
			if name == "" || nameFits(w.To.Number, p == "etc/group", name) || !nameFits(w.From.Number, p == "etc/group", name) {
				continue
			}
			w.Tell(convert.Finding{
				Path: p, Line: l.At, Next: "Give it another name: " + change + ".",
				What: fmt.Sprintf("The programs of %s do not take “%s” as the name of a %s; as long as it is there, no change of accounts can be taken over.", there(w), name, what),
			})
		}
	}
	return nil
}

// nameFits tells whether a release takes the name of an account; as measured.
func nameFits(release int, group bool, name string) bool {
	most := 32
	if release >= 13 && !group {
		most = 256
	}
	if len(name) > most {
		return false
	}
	if release < 13 {
		return true
	}
	body := strings.TrimSuffix(name, "$")
	odd := func(r rune) bool {
		return r != '_' && r != '.' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	return body != "" && name != "." && name != ".." && !strings.ContainsFunc(body, odd) && strings.Trim(name, "0123456789") != ""
}

func loginDefs(w *convert.Work) error {
	lost := map[string]string{
		"FAILLOG_ENAB": "wrong passwords at the screen are in the log of logins alone",
		"FTMP_FILE":    "they are always kept in /var/log/btmp",
		"SU_NAME":      "su goes by its own name in the list of processes",
		"SULOG_FILE":   "su writes to the system's log alone",
	}
	for _, p := range w.Changed("etc/login.defs") {
		edit(w, conf.LoginDefs(), p, func(d *conf.Doc) {
			for _, l := range d.Settings() {
				if why, ok := lost[l.Name]; ok && !w.To.Knows("login", l.Name) {
					w.Tell(convert.Finding{Path: p, Line: l.No, What: l.Name + " does nothing there: " + why + ". The line stays."})
				}
			}
			for _, l := range d.Find("CRACKLIB_DICTPATH") {
				takeOut(w, d, p, l, "Each program that reads login.defs", note{class: convert.Ignored, what: " and complains"})
			}
		})
	}
	return nil
}
