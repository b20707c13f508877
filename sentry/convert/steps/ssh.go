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

// SSH carries sshd_config: OpenSSH 8.4 ↔ 9.2 ↔ 10.0.
func SSH() []convert.Step {
	return []convert.Step{
		{
			ID: "ssh-names", Service: "ssh", Old: 11, Class: convert.Renamed,
			Title:   "sshd: ChallengeResponseAuthentication ↔ KbdInteractiveAuthentication, PubkeyAcceptedKeyTypes and HostbasedAcceptedKeyTypes ↔ …AcceptedAlgorithms",
			Source:  "release notes of OpenSSH 8.5 and 8.7",
			Forward: sshNames(false), Back: sshNames(true),
		},
		{
			ID: "ssh-unknown-11", Service: "ssh", Old: 11, Class: convert.Approximated,
			Title:  "sshd: RequiredRSASize, ChannelTimeout, UnusedConnectionTimeout and others that the older one does not know",
			Source: "measured: sshd -T of both",
			Back:   sshUnknown,
		},
		{
			ID: "ssh-dss", Service: "ssh", Old: 12, Class: convert.Approximated,
			Title:   "sshd: ssh-dss in lists of algorithms, DSA host keys",
			Source:  "release notes of OpenSSH 10.0; measured: sshd -t of both",
			Forward: sshDSS,
		},
		{
			ID: "ssh-algorithms", Service: "ssh", Old: 12, Class: convert.Approximated,
			Title:  "sshd: key exchanges that the older server does not know",
			Source: "measured: sshd -T of both",
			Back:   sshAlgorithms,
		},
		{
			ID: "ssh-match", Service: "ssh", Old: 12, Class: convert.Blocking,
			Title:  "sshd: Match version, Match invalid-user",
			Source: "release notes of OpenSSH 9.8 and 10.0; measured: sshd -t of both",
			Back:   sshMatch,
		},
		{
			ID: "ssh-unknown", Service: "ssh", Old: 12, Class: convert.Ignored,
			Title:   "sshd: PerSourcePenalties, RefuseConnection, PAMServiceName and others that one side does not know",
			Source:  "measured: sshd -T of both",
			Forward: sshUnknown, Back: sshUnknown,
		},
		{
			ID: "ssh-kex", Service: "ssh", Old: 12, Class: convert.Pinned,
			Title:   "sshd: Diffie-Hellman key exchanges for old clients",
			Source:  "release notes of OpenSSH 10.0; measured: sshd -T of both",
			Forward: sshKex,
		},
	}
}

func sshFiles(w *convert.Work) []state.Path {
	return w.Changed("etc/ssh/sshd_config", "etc/ssh/sshd_config.d/*.conf")
}

// sshRenamed are the names of OpenSSH 8.4 and those since.
func sshRenamed() [][2]string {
	return [][2]string{
		{"ChallengeResponseAuthentication", "KbdInteractiveAuthentication"},
		{"PubkeyAcceptedKeyTypes", "PubkeyAcceptedAlgorithms"},
		{"HostbasedAcceptedKeyTypes", "HostbasedAcceptedAlgorithms"},
	}
}

func sshNames(back bool) func(*convert.Work) error {
	return func(w *convert.Work) error {
		for _, p := range sshFiles(w) {
			edit(w, conf.SSHD(), p, func(d *conf.Doc) {
				for i, n := range sshRenamed() {
					from, to := n[0], n[1]
					if back {
						from, to = to, from
					}
					for _, l := range d.Find(from) {
						if i == 0 && !back && oneOfTwo(w, d, p, l) {
							continue
						}
						takeOut(w, d, p, l, "sshd", note{class: convert.Renamed, name: to})
					}
				}
			})
		}
		return nil
	}
}

// oneOfTwo: the older server asks in the dialogue if either of its two settings says yes, the newer has one setting, and its first word counts.
func oneOfTwo(w *convert.Work, d *conf.Doc, p state.Path, challenge *conf.Line) bool {
	both := d.FindIn(challenge.Section, "KbdInteractiveAuthentication")
	if len(both) == 0 {
		return false
	}
	out := challenge
	if plainWord(both[0].Value) == "no" && plainWord(challenge.Value) == "yes" {
		out = both[0]
	}
	w.Tell(convert.Finding{
		Class: convert.Rewritten, Path: p, Line: out.No,
		What: "ChallengeResponseAuthentication and KbdInteractiveAuthentication are one setting there; the line that says less is made a remark.",
	})
	d.CommentOut(out, "one setting in "+there(w))
	return out == challenge
}

func sshDSS(w *convert.Work) error {
	for _, p := range sshFiles(w) {
		edit(w, conf.SSHD(), p, func(d *conf.Doc) {
			for _, name := range []string{
				"HostKeyAlgorithms", "PubkeyAcceptedAlgorithms", "PubkeyAcceptedKeyTypes", "HostbasedAcceptedAlgorithms", "HostbasedAcceptedKeyTypes", "CASignatureAlgorithms",
			} {
				for _, l := range d.Find(name) {
					if strings.HasPrefix(l.Value, "-") { // to take away what is not there is allowed
						continue
					}
					dropWords(w, d, p, l, onlyDSS, "There is no DSA in sshd of "+there(w)+", and it would not start with "+l.Value+" in "+l.Name+".",
						"Give whoever logs in with a DSA key a new one: ssh-keygen -t ed25519.")
				}
			}
			for _, l := range append(d.Find("HostKey"), d.Find("HostCertificate")...) {
				if strings.Contains(path.Base(l.Value), "_dsa_key") {
					takeOut(w, d, p, l, "sshd", note{class: convert.Ignored, what: " with a DSA key"})
				}
			}
		})
	}
	return nil
}

// onlyDSS tells whether an algorithm, or a pattern of algorithms, means nothing but DSA: sshd refuses a word that matches none it knows.
func onlyDSS(word string) bool {
	if ok, err := path.Match(word, "ssh-ed25519"); err != nil || ok {
		return false
	}
	for _, a := range []string{"ssh-dss", "ssh-dss-cert-v01@openssh.com"} {
		if ok, err := path.Match(word, a); err == nil && ok {
			for _, other := range []string{"ssh-rsa", "ssh-rsa-cert-v01@openssh.com", "ssh-ed25519-cert-v01@openssh.com", "ecdsa-sha2-nistp256"} {
				if ok, err := path.Match(word, other); err == nil && ok {
					return false
				}
			}
			return true
		}
	}
	return false
}

// dropWords takes the words out of a list of sshd's that fit. A list of which nothing is left becomes a remark: sshd takes its default then.
func dropWords(w *convert.Work, d *conf.Doc, p state.Path, l *conf.Line, out func(string) bool, what, next string) {
	words, sign := l.Value, ""
	if words != "" && strings.ContainsRune("+^-", rune(words[0])) {
		sign, words = words[:1], words[1:]
	}
	all := strings.Split(words, ",")
	left := slices.DeleteFunc(slices.Clone(all), out)
	if len(left) == len(all) {
		return
	}
	f := convert.Finding{Class: convert.Approximated, Path: p, Line: l.No, What: what, Next: next}
	switch {
	case len(left) > 0:
		f.What += " It is taken out of the list."
		w.Tell(f)
		d.Set(l, sign+strings.Join(left, ","))
	default:
		if sign == "" {
			f.Class = convert.Blocking
			f.What += " Nothing else is in the list, so the server's own list would take its place: whoever came by this one cannot come in."
		} else {
			f.What += " The line is made a remark."
		}
		w.Tell(f)
		d.CommentOut(l, "not known to "+there(w))
	}
}

// sshAlgorithms drops from lists what the other server has no name for. The facts cannot tell: they have the lists that are assumed, where
// what is missing may only be out of favour.
func sshAlgorithms(w *convert.Work) error {
	for _, p := range sshFiles(w) {
		edit(w, conf.SSHD(), p, func(d *conf.Doc) {
			for _, l := range d.Find("KexAlgorithms") {
				if strings.HasPrefix(l.Value, "-") {
					continue
				}
				dropWords(w, d, p, l, func(a string) bool { return strings.HasPrefix(a, "mlkem768x25519-") },
					"sshd of "+there(w)+" does not know the key exchange mlkem768x25519-sha256.", "")
			}
		})
	}
	return nil
}

func sshMatch(w *convert.Work) error {
	for _, p := range sshFiles(w) {
		edit(w, conf.SSHD(), p, func(d *conf.Doc) {
			for _, s := range d.Sections() {
				if !slices.ContainsFunc(strings.Fields(strings.ToLower(s.Value)), func(word string) bool { return word == "version" || word == "invalid-user" }) {
					continue
				}
				w.Tell(convert.Finding{
					Class: convert.Blocking, Path: p, Line: s.No,
					What: fmt.Sprintf("sshd of %s has no “%s” and would not start with it; the block is made remarks, and what it ordered is not done there.", there(w), s.Name),
					Next: "Say what the block is for by Match User, Group, Address or Host.",
				})
				for _, l := range d.Settings() {
					if l.Section == s.Name {
						d.CommentOut(l, "")
					}
				}
				d.CommentOut(s, "not known to "+there(w))
			}
		})
	}
	return nil
}

func sshUnknown(w *convert.Work) error {
	notes := map[string]note{
		"persourcepenalties":         {class: convert.Ignored, what: ", and shuts nobody out for wrong passwords"},
		"persourcepenaltyexemptlist": {class: convert.Ignored, what: ", and shuts nobody out for wrong passwords"},
		"refuseconnection": {
			class: convert.Blocking, what: ": whoever is refused here could log in there",
			next: "Write DenyUsers, or ForceCommand /bin/false in the Match block, in its place.",
		},
		"requiredrsasize": {
			class: convert.Approximated, what: "; it takes RSA keys from 1024 bits on",
			next: "Take short RSA keys out of authorized_keys.",
		},
		"channeltimeout":          {class: convert.Approximated, what: "; idle channels stay open"},
		"unusedconnectiontimeout": {class: convert.Approximated, what: "; connections without a channel stay open"},
		"pamservicename": {
			class: convert.Approximated, what: ", and asks PAM as sshd",
			next: "Look whether /etc/pam.d/sshd says what the other file does.",
		},
		"sshdsessionpath": {class: convert.Ignored, what: ", and has no such program"},
		"sshdauthpath":    {class: convert.Ignored, what: ", and has no such program"},
	}
	for _, p := range sshFiles(w) {
		edit(w, conf.SSHD(), p, func(d *conf.Doc) {
			for _, l := range d.Settings() {
				name := strings.ToLower(l.Name)
				if !unknown(w, "ssh", name) || slices.ContainsFunc(sshRenamed(), func(n [2]string) bool { return strings.EqualFold(n[0], name) || strings.EqualFold(n[1], name) }) {
					continue
				}
				n, ok := notes[name]
				if !ok {
					n = note{class: convert.Approximated, next: "Look whether the server does without it what it should."}
				}
				if sameDefault(w, "ssh", name, l.Value) {
					n = note{class: convert.Ignored, what: ", and the line says what is done anyway"}
				}
				takeOut(w, d, p, l, "sshd", n)
			}
		})
	}
	return nil
}

// sshKex keeps old clients: the newer server offers them no key exchange that they know.
func sshKex(w *convert.Work) error {
	files := sshFiles(w)
	was, ok := w.From.Default("ssh", "kexalgorithms")
	is, okTo := w.To.Default("ssh", "kexalgorithms")
	if len(files) == 0 || !ok || !okTo {
		return nil
	}
	for _, p := range w.Paths("etc/ssh/sshd_config", "etc/ssh/sshd_config.d/*.conf") {
		if len(conf.Parse(conf.SSHD(), w.Text(p)).FindIn("", "KexAlgorithms")) > 0 {
			return nil
		}
	}
	gone := slices.DeleteFunc(list(was), func(a string) bool { return slices.Contains(list(is), a) })
	if len(gone) == 0 {
		return nil
	}
	p := files[0]
	edit(w, conf.SSHD(), p, func(d *conf.Doc) {
		d.Append("", "# Debian "+fmt.Sprint(w.From.Number)+" offers these as well; without them old clients could not log in.", "KexAlgorithms +"+strings.Join(gone, ","))
	})
	w.Tell(convert.Finding{
		Path: p,
		What: "sshd of " + there(w) + " no longer offers the key exchange by Diffie-Hellman groups, which old clients need; KexAlgorithms adds it.",
		Next: "Take the line out when no client is older than about 2013.",
	})
	return nil
}
