package conf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lossless parses any bytes and checks that they come back, with lines counted right.
func lossless(t *testing.T, text []byte) {
	t.Helper()
	lines := func(at []int, raws []string) {
		n := 1
		for i, raw := range raws {
			if at[i] != n {
				t.Fatalf("line %q is said to be %d, is %d", raw, at[i], n)
			}
			n += strings.Count(raw, "\n")
		}
	}
	same := func(name string, got []byte) {
		if string(got) != string(text) {
			t.Fatalf("%s: %q came back as %q", name, text, got)
		}
	}
	var at []int
	var raws []string
	a := ParseApache(text)
	for i, l := range a.Lines {
		at, raws = append(at, l.At), append(raws, l.Raw)
		a.End(i)
	}
	same("apache", a.Bytes())
	lines(at, raws)
	at, raws = nil, nil
	d := ParseDovecot(text)
	for i, l := range d.Lines {
		at, raws = append(at, l.At), append(raws, l.Raw)
		d.End(i)
	}
	same("dovecot", d.Bytes())
	lines(at, raws)
	at, raws = nil, nil
	p := ParsePostfix(text)
	for _, l := range p.Lines {
		at, raws = append(at, l.At), append(raws, l.Raw)
		l.Setting()
		l.Service()
		l.Options()
	}
	same("postfix", p.Bytes())
	lines(at, raws)
	at, raws = nil, nil
	ini := ParsePHPIni(text)
	for _, l := range ini.Lines {
		at, raws = append(at, l.At), append(raws, l.Raw)
	}
	same("php.ini", ini.Bytes())
	lines(at, raws)
	acc := ParseAccounts(text)
	for _, l := range acc.Lines {
		l.Name()
		l.Set(l.Fields...)
	}
	same("accounts", ParseAccounts(text).Bytes())
}

var nestedSeeds = []string{
	"", "\n", "a", "\\", "#\\\nb", "<Directory \"/a b\">\n\tOrder deny,allow \\\n\t  x\r\n</Directory>\n", "'", "\"", "<", "</", "a 'b\\'c' \"d\\\\\"",
	"passdb {\n  args = scheme=CRYPT %u # c\n}\nssl_cert = </etc/x\n!include a\n", "a = 'b # c'\n", "a = \\\n b\n", "x #", "p q {",
	"a = b,\n  # c\n\n  d\n# e\n f\n", "smtp inet n - y - - smtpd\n  -o a=b\n -o { c = d e }\n", " x\n", "-o {",
	"[PHP]\na = \"b\n;c\" ; d\n", "a=\"", ";\"\nb", "root:x:0:0:root:/root:/bin/sh\n+::::::\n#a:b\r\n:", ":",
}

func FuzzNested(f *testing.F) {
	for _, s := range nestedSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) { lossless(t, text) })
}

func TestParseApache(t *testing.T) {
	got := ParseApache([]byte("# a \\\nb\n<Directory \"/srv/a b\">\n\tOrder deny,\\\nallow\n</Directory>\nSetEnvIf x 'a \\'b' c\n")).Lines
	want := []ApacheLine{
		{Raw: "# a \\\nb\n", At: 1},
		{Raw: "<Directory \"/srv/a b\">\n", At: 3, Name: "Directory", Args: []string{"/srv/a b"}, Open: true},
		{Raw: "\tOrder deny,\\\nallow\n", At: 4, Name: "Order", Args: []string{"deny,allow"}},
		{Raw: "</Directory>\n", At: 6, Name: "Directory", Close: true},
		{Raw: "SetEnvIf x 'a \\'b' c\n", At: 7, Name: "SetEnvIf", Args: []string{"x", "a 'b", "c"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestParseDovecot(t *testing.T) {
	got := ParseDovecot([]byte("ssl_cert = </etc/a.pem # c\npassdb pam {\n  args = \"a # b\" \n}\n!include_try  x.conf\nfoo = it's # c\na = b \\\n c\n")).Lines
	want := []DovecotLine{
		{Raw: "ssl_cert = </etc/a.pem # c\n", At: 1, Key: "ssl_cert", Value: "/etc/a.pem", File: true},
		{Raw: "passdb pam {\n", At: 2, Key: "passdb", Value: "pam", Open: true},
		{Raw: "  args = \"a # b\" \n", At: 3, Key: "args", Value: "a # b"},
		{Raw: "}\n", At: 4, Close: true},
		{Raw: "!include_try  x.conf\n", At: 5, Key: "!include_try", Value: "x.conf"},
		{Raw: "foo = it's # c\n", At: 6, Key: "foo", Value: "it's"},
		{Raw: "a = b \\\n c\n", At: 7, Key: "a", Value: "b   c"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestParsePostfix(t *testing.T) {
	p := ParsePostfix([]byte("# c\nmynetworks = 127.0.0.0/8,\n# between\n\n  10.0.0.0/8\n\nsmtp inet n - y - - smtpd\n  -o a=b\n  -o { c = d e }\n"))
	if v, i := p.Get("mynetworks"); v != "127.0.0.0/8, 10.0.0.0/8" || p.Lines[i].At != 2 {
		t.Errorf("mynetworks = %q, line %+v", v, p.Lines[i])
	}
	last := p.Lines[len(p.Lines)-1]
	if d := cmp.Diff([]PostfixOption{{"a", "b"}, {"c", "d e"}}, last.Options()); d != "" || last.At != 7 {
		t.Errorf("line %d: (-want +got):\n%s", last.At, d)
	}
	if d := cmp.Diff([]string{"smtp", "inet", "n", "-", "y", "-", "-", "smtpd -o a=b -o { c = d e }"}, last.Service()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestParsePHPIni(t *testing.T) {
	var got []string
	for _, l := range ParsePHPIni([]byte("[PHP]\na = b ; c\nd=\"e;\nf\"\n;g=h\nzend_extension=x\n")).Lines {
		got = append(got, l.Section+l.Key+"="+l.Value)
	}
	if d := cmp.Diff([]string{"[PHP]=", "[PHP]a=b", "[PHP]d=\"e;\nf\"", "[PHP]=", "[PHP]zend_extension=x"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestParseAccounts(t *testing.T) {
	a := ParseAccounts([]byte("root:x:0:0::/root:/bin/sh\n+::\nanna:y:1:1:::\n"))
	if i := a.Find("anna"); i != 2 {
		t.Errorf("anna at %d", i)
	}
	if i := a.Find("+"); i != -1 {
		t.Errorf("+ at %d", i)
	}
	a.Lines[2].Set("anna", "x")
	if got := string(a.Bytes()); got != "root:x:0:0::/root:/bin/sh\n+::\nanna:x\n" {
		t.Errorf("got %q", got)
	}
}
