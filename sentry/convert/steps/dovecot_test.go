package steps

import (
	"testing"

	"sayasystems.com/atlas/sentry/convert"
)

func TestDovecot(t *testing.T) { nested(t, "dovecot", Dovecot()) }

func TestDovecotVars(t *testing.T) {
	for _, c := range []struct{ old, now string }{
		{"/home/%u", "/home/%{user}"},
		{"%Ln", "%{user | username | lower}"},
		{"%d/%1n/%2.1n", "%{user | domain}/%{user | username | substr(0, 1)}/%{user | username | substr(2, 1)}"},
		{"100%%", "100%%"},
		{"%U{user}", "%{user | upper}"},
		{"$default_internal_user", "$SET:default_internal_user"},
		{"%", "%"},
		{"5% x", "5% x"},
		{"a$1", "a$1"},
		{"%Hu", ""},
		{"%{foo}", ""},
		{"%-1n", ""},
		{"%Ed", ""},
	} {
		got, err := dovecotVars(c.old)
		if (err != nil) != (c.now == "") || err == nil && got != c.now {
			t.Errorf("dovecotVars(%q) = %q, %v; want %q", c.old, got, err, c.now)
		}
	}
	for _, old := range []string{"/home/%u", "%Ln", "%d/%1n", "%2.1Lu"} {
		now, err := dovecotVars(old)
		back, err2 := dovecotShorten(now)
		if err != nil || err2 != nil || back != old {
			t.Errorf("%q became %q and back %q (%v, %v)", old, now, back, err, err2)
		}
	}
	if got, err := dovecotShorten("%{user | md5}"); err == nil {
		t.Errorf("%%{user | md5} became %q", got)
	}
}

// FuzzDovecot: whatever people wrote, nothing breaks.
func FuzzDovecot(f *testing.F) {
	f.Add("passdb {\n args = %\n", "plugin {\nquota = \n quota_rule = *:storage=1", true)
	f.Add("a {", "}\n}", false)
	f.Fuzz(func(t *testing.T, local, other string, back bool) {
		from, to := 12, 13
		if back {
			from, to = to, from
		}
		before := convert.NewTree(nil)
		before.Write("etc/dovecot/local.conf", []byte(local))
		before.Write("etc/dovecot/dovecot.conf", []byte(other))
		if _, err := convert.Convert(Dovecot(), from, to, before); err != nil {
			t.Fatal(err)
		}
	})
}
