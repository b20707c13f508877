package steps

import (
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// NFS carries the settings of the kernel's server: from Debian 12 on /etc/nfs.conf has what /etc/default/nfs-* had. /etc/exports is
// the same in all.
func NFS() []convert.Step {
	return []convert.Step{
		{
			ID: "nfs-defaults", Service: "nfs", Old: 11, Class: convert.Moved,
			Title:   "/etc/default/nfs-kernel-server, nfs-common ↔ /etc/nfs.conf.d/local.conf",
			Source:  "nfsconvert of Debian 12; nfs.conf(5)",
			Forward: nfsForward, Back: nfsBack,
		},
		{
			ID: "nfs-version-2", Service: "nfs", Old: 11, Class: convert.Approximated,
			Title:   "NFS version 2",
			Source:  "release notes of Debian 12",
			Forward: nfsVersion2,
		},
		{
			ID: "nfs-cltrack", Service: "nfs", Old: 12, Class: convert.Ignored,
			Title:   "nfs.conf: [nfsdcltrack]",
			Source:  "measured: /etc/nfs.conf of both",
			Forward: nfsTrack,
		},
	}
}

const (
	nfsServer = state.Path("etc/default/nfs-kernel-server")
	nfsCommon = state.Path("etc/default/nfs-common")
	nfsLocal  = state.Path("etc/nfs.conf.d/local.conf")
)

// nfsOption is an option of a daemon's and what it is in nfs.conf; without a value it says yes there.
type nfsOption struct {
	daemon, long, short, key string
	value                    bool
}

func nfsOptions() []nfsOption {
	return []nfsOption{
		{"mountd", "--manage-gids", "-g", "manage-gids", false},
		{"mountd", "--port", "-p", "port", true},
		{"mountd", "--num-threads", "-t", "threads", true},
		{"mountd", "--descriptors", "-o", "descriptors", true},
		{"mountd", "--ha-callout", "-H", "ha-callout", true},
		{"mountd", "--reverse-lookup", "-r", "reverse-lookup", false},
		{"mountd", "--state-directory-path", "-s", "state-directory-path", true},
		{"statd", "--port", "-p", "port", true},
		{"statd", "--outgoing-port", "-o", "outgoing-port", true},
		{"statd", "--name", "-n", "name", true},
		{"statd", "--no-notify", "-L", "no-notify", false},
		{"statd", "--ha-callout", "-H", "ha-callout", true},
	}
}

func nfsForward(w *convert.Work) error {
	local := conf.Parse(conf.NFS(), w.Text(nfsLocal))
	var done []*conf.Line
	set := func(p state.Path, l *conf.Line, section, key, value string) {
		if len(local.FindIn(section, key)) > 0 {
			return
		}
		local.Append(section, key+"="+value)
		done = append(done, l)
		w.Tell(convert.Finding{
			Path: p, Line: l.No,
			What: fmt.Sprintf("%s is said as %s=%s in [%s] of /%s there.", l.Name, key, value, section, nfsLocal),
		})
	}
	for _, p := range w.Changed(string(nfsServer), string(nfsCommon)) {
		for _, l := range conf.Parse(conf.Shell(), w.Text(p)).Settings() {
			value := conf.Shell().Plain(l.Value)
			switch l.Name {
			case "RPCNFSDCOUNT":
				words := strings.Fields(value)
				if len(words) > 0 && words[0] != "8" {
					set(p, l, "nfsd", "threads", words[0])
				}
			case "RPCMOUNTDOPTS":
				nfsSplit(w, p, l, "mountd", value, set)
			case "STATDOPTS":
				nfsSplit(w, p, l, "statd", value, set)
			case "RPCSVCGSSDOPTS", "RPCNFSDPRIORITY":
				if value != "" && value != "0" {
					w.Tell(convert.Finding{
						Class: convert.Ignored, Path: p, Line: l.No,
						What: l.Name + " is not read there; the daemon is started by the image.",
					})
				}
			}
		}
	}
	if len(done) > 0 {
		w.Write(nfsLocal, local.Bytes())
	}
	return nil
}

// nfsSplit takes a daemon's options one by one.
func nfsSplit(w *convert.Work, p state.Path, l *conf.Line, daemon, value string, set func(state.Path, *conf.Line, string, string, string)) {
	words := strings.Fields(strings.ReplaceAll(value, "=", " "))
	for i := 0; i < len(words); i++ {
		word := words[i]
		if (word == "--no-nfs-version" || word == "-N") && i+1 < len(words) {
			i++
			set(p, l, "nfsd", "vers"+words[i], "n")
			continue
		}
		at := slices.IndexFunc(nfsOptions(), func(o nfsOption) bool { return o.daemon == daemon && (o.long == word || o.short == word) })
		switch {
		case at < 0:
			w.Tell(convert.Finding{
				Class: convert.Approximated, Path: p, Line: l.No, What: fmt.Sprintf("%s has the option %s, which nfs.conf cannot say or which is not known here.", l.Name, word),
				Next: "Look into nfs.conf(5) whether it is still wanted.",
			})
		case !nfsOptions()[at].value:
			if nfsOptions()[at].key != "manage-gids" { // Debian's own nfs.conf says it
				set(p, l, daemon, nfsOptions()[at].key, "y")
			}
		case i+1 < len(words):
			i++
			set(p, l, daemon, nfsOptions()[at].key, words[i])
		}
	}
}

func nfsBack(w *convert.Work) error {
	if len(w.Changed(string(nfsLocal))) == 0 {
		return nil
	}
	options := map[string][]string{}
	var count string
	for _, l := range conf.Parse(conf.NFS(), w.Text(nfsLocal)).Settings() {
		section, key := strings.ToLower(l.Section), strings.ToLower(l.Name)
		f := convert.Finding{Path: nfsLocal, Line: l.No}
		at := slices.IndexFunc(nfsOptions(), func(o nfsOption) bool { return o.daemon == section && o.key == key })
		switch {
		case section == "nfsd" && key == "threads":
			count = l.Value
			f.What = "threads is RPCNFSDCOUNT in /" + string(nfsServer) + " there."
		case at >= 0 && !nfsOptions()[at].value && plainWord(l.Value) != "yes" && l.Value != "y":
			continue
		case at >= 0:
			o := nfsOptions()[at]
			word := o.long
			if o.value {
				word += " " + l.Value
			}
			options[section] = append(options[section], word)
			f.What = fmt.Sprintf("%s of [%s] is the option %s there.", l.Name, l.Section, word)
		default:
			f.Class, f.What = convert.Approximated, fmt.Sprintf("%s of [%s] may not be read there: Debian 11 reads /etc/nfs.conf, and nothing beside it.", l.Name, l.Section)
			f.Next = "Write it into /etc/nfs.conf as well."
		}
		w.Tell(f)
	}
	put := func(p state.Path, name, value string) {
		if value == "" {
			return
		}
		edit(w, conf.Shell(), p, func(d *conf.Doc) {
			if l := d.Find(name); len(l) > 0 {
				d.Set(l[len(l)-1], value)
				return
			}
			d.Append("", name+"="+value)
		})
	}
	quote := func(words []string) string {
		if len(words) == 0 {
			return ""
		}
		return `"` + strings.Join(words, " ") + `"`
	}
	put(nfsServer, "RPCNFSDCOUNT", count)
	put(nfsServer, "RPCMOUNTDOPTS", quote(options["mountd"]))
	put(nfsCommon, "STATDOPTS", quote(options["statd"]))
	return nil
}

func nfsFiles(w *convert.Work) []state.Path {
	return w.Changed("etc/nfs.conf", "etc/nfs.conf.d/*.conf")
}

func nfsVersion2(w *convert.Work) error {
	for _, p := range nfsFiles(w) {
		edit(w, conf.NFS(), p, func(d *conf.Doc) {
			for _, l := range d.FindIn("nfsd", "vers2") {
				if l.Value == "n" || plainWord(l.Value) == "no" {
					continue
				}
				takeOut(w, d, p, l, "The NFS server", note{class: convert.Approximated, what: ": version 2 is gone", next: "Have old clients mount with version 3."})
			}
		})
	}
	return nil
}

func nfsTrack(w *convert.Work) error {
	for _, p := range nfsFiles(w) {
		for _, s := range conf.Parse(conf.NFS(), w.Text(p)).Sections() {
			if strings.EqualFold(s.Name, "nfsdcltrack") {
				w.Tell(convert.Finding{Path: p, Line: s.No, What: "Section [nfsdcltrack] is read by nothing there; nfsdcld does its work."})
			}
		}
	}
	return nil
}
