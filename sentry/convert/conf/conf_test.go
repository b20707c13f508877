package conf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func all() map[string]Format {
	return map[string]Format{
		"sshd": SSHD(), "samba": Samba(), "postgresql": PostgreSQL(), "hba": HBA(), "mysql": MySQL(), "nfs": NFS(), "shell": Shell(),
		"sysctl": Sysctl(), "login.defs": LoginDefs(), "chrony": Chrony(), "ntp": Ntp(), "pam": PAM(), "slapd": Slapd(), "kerberos": Kerberos(),
		"indent": {Comments: "#", Equals: true, Indent: true},
	}
}

type setting struct {
	No                   int
	Section, Name, Value string
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		format, text string
		want         []setting
	}{
		{"sshd", "Port 22 # office\nSubsystem\tsftp /a#b\nPort=23\nBanner = \"/a # b\"\nMatch User a\n  X11Forwarding no\nmatch all\nUseDNS no", []setting{
			{1, "", "Port", "22"},
			{2, "", "Subsystem", "sftp /a#b"},
			{3, "", "Port", "23"},
			{4, "", "Banner", `"/a # b"`},
			{6, "Match User a", "X11Forwarding", "no"},
			{8, "match all", "UseDNS", "no"},
		}},
		{"samba", "[global]\n read only = no ; yes\n;x = y\n comment = a \\\n  b\n[ Office ]\npath=/x\nbroken\n", []setting{
			{2, "global", "read only", "no ; yes"}, {4, "global", "comment", "a \\\n  b"}, {7, "Office", "path", "/x"}, {8, "Office", "broken", ""},
		}},
		{"postgresql", "a = 'x # y''z'  # why\nb 12\nC=on#now\ninclude_dir 'conf.d'\n", []setting{
			{1, "", "a", "'x # y''z'"}, {2, "", "b", "12"}, {3, "", "C", "on"}, {4, "", "include_dir", "'conf.d'"},
		}},
		{"mysql", "[mysqld]\nskip-name-resolve\nsql_mode = 'A,B' # c\nx\t=y # z\n!includedir /etc/x\n", []setting{
			{2, "mysqld", "skip-name-resolve", ""}, {3, "mysqld", "sql_mode", "'A,B'"}, {4, "mysqld", "x", "y"},
		}},
		{"shell", "A=\"--port 1 # x\"\nB= # nothing\n", []setting{{1, "", "A", `"--port 1 # x"`}, {2, "", "B", ""}}},
		{"sysctl", "net/ipv4/ip_forward=1\n-kernel.x = 1 2\n", []setting{{1, "", "net/ipv4/ip_forward", "1"}, {2, "", "-kernel.x", "1 2"}}},
		{"chrony", "! no\nserver a iburst # c\n", []setting{{2, "", "server", "a iburst # c"}}},
		{"login.defs", "UMASK\t\t022\n", []setting{{1, "", "UMASK", "022"}}},
		{"hba", "host all \"a # b\" ::/0 md5 # old\n", []setting{{1, "", "host", `all "a # b" ::/0 md5`}}},
		{"indent", "a = 1,\n  2\nb = 3\n\n  c = 4\n", []setting{{1, "", "a", "1,\n  2"}, {3, "", "b", "3"}, {5, "", "c", "4"}}},
	} {
		t.Run(c.format, func(t *testing.T) {
			var got []setting
			for _, l := range Parse(all()[c.format], []byte(c.text)).Settings() {
				got = append(got, setting{l.No, l.Section, l.Name, l.Value})
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestEdit(t *testing.T) {
	for _, c := range []struct {
		name, format, text, want string
		edit                     func(*Doc)
	}{
		{"set", "sshd", "Port 22 # office\n", "Port 23 # office\n", func(d *Doc) { d.Set(d.Find("PORT")[0], "23") }},
		{"set what had none", "mysql", "[a]\nssl\n", "[a]\nssl=0\n", func(d *Doc) { d.Set(d.FindIn("a", "ssl")[0], "0") }},
		{
			"rename", "samba", "[global]\n\tunix extensions = no\n", "[global]\n\tsmb1 unix extensions = no\n",
			func(d *Doc) { d.Rename(d.FindIn("GLOBAL", "unixextensions")[0], "smb1 unix extensions") },
		},
		{"comment out", "mysql", "[a]\n  max_tmp-tables = 3\nb=1", "[a]\n# [why] max_tmp-tables = 3\nb=1", func(d *Doc) { d.CommentOut(d.Find("max-tmp-tables")[0], "why") }},
		{"comment out two lines", "samba", "[g]\na = 1 \\\n 2\nb = 3\n", "[g]\n# [why] a = 1 \n# 2\nb = 3\n", func(d *Doc) { d.CommentOut(d.Find("a")[0], "why") }},
		{"remove", "chrony", "a 1\nb 2\na 3\n", "b 2\na 3\n", func(d *Doc) { d.Remove(d.Find("a")[0]) }},
		{"after, without an end of line", "chrony", "a 1", "a 1\nb 2\n", func(d *Doc) { d.After(d.Find("a")[0], "b 2") }},
		{"append to a section", "samba", "[a]\nx = 1\n\n# of b\n[b]\ny = 2\n", "[a]\nx = 1\nz = 3\n\n# of b\n[b]\ny = 2\n", func(d *Doc) { d.Append("a", "z = 3") }},
		{"append a section", "nfs", "[a]\nx=1", "[a]\nx=1\n\n[c]\nz=3\n", func(d *Doc) { d.Append("c", "z=3") }},
		{"append to nothing", "nfs", "", "[c]\nz=3\n", func(d *Doc) { d.Append("c", "z=3") }},
		{"append before blocks", "sshd", "# hello\n\nMatch all\nX no\n", "# hello\n\nY 1\nMatch all\nX no\n", func(d *Doc) { d.Append("", "Y 1") }},
		{"lines of another system", "samba", "[a]\r\nx = 1\r\n", "[a]\r\nx = 1\r\ny = 2\r\n", func(d *Doc) { d.Append("a", "y = 2") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Parse(all()[c.format], []byte(c.text))
			c.edit(d)
			if diff := cmp.Diff(c.want, string(d.Bytes())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzParse: no byte is lost, no edit fails, and an edit leaves all other lines as they are.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a = 1\n", "[g]\n\ta b = 'x # y' \\\n z\r\n;c\n", "Match User x\n Y z # q", "=\n", "[x\n", "!include x", "a=\"", "a='\\", "\\\n\\", "a\x00b=\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for name, format := range all() {
			d := Parse(format, text)
			if string(d.Bytes()) != string(text) {
				t.Fatalf("%s: %q is printed as %q", name, text, d.Bytes())
			}
			for i, l := range d.Settings() {
				d.Rename(l, l.Name)
				d.Set(l, l.Value)
				if string(d.Bytes()) != string(text) {
					t.Fatalf("%s: setting %q to what it is makes %q of %q", name, l.Name, d.Bytes(), text)
				}
				other := Parse(format, text)
				o := other.Settings()[i]
				lines := strings.Count(string(text), "\n")
				other.CommentOut(o, "why")
				if strings.Count(string(other.Bytes()), "\n") != lines {
					t.Fatalf("%s: taking %q out of %q changes the number of lines: %q", name, o.Raw(), text, other.Bytes())
				}
				if n := len(Parse(format, other.Bytes()).Settings()); n != len(d.Settings())-1 && format.Behind == "" && !format.Indent {
					t.Fatalf("%s: taking %q out of %q leaves %d settings of %d: %q", name, l.Raw(), text, n, len(d.Settings()), other.Bytes())
				}
			}
			d.Append("new", "x = 1")
			d.Append("", "y = 1")
		}
	})
}
