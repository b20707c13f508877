package steps

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
)

func TestApache(t *testing.T) { nested(t, "apache", Apache()) }

// apacheRequest is one request to a place; the answer is whether it is let in.
type apacheRequest struct {
	from netip.Addr
	user string
	env  string
}

// apacheOld says what mod_access_compat and a Require beside it decide, written after Apache's documentation of 2.2.
func apacheOld(text string, r apacheRequest) bool {
	var order, satisfy string
	var allow, deny, auth, hasAuth bool
	match := func(args []string) bool {
		for _, a := range args[1:] {
			switch p, err := netip.ParsePrefix(a); {
			case a == "all", a == r.from.String(), err == nil && p.Contains(r.from),
				a != "" && a[0] == '1' && strings.HasPrefix(r.from.String()+".", strings.TrimSuffix(a, ".")+"."):
				return true
			case strings.HasPrefix(a, "env=!"):
				if r.env != a[5:] {
					return true
				}
			case strings.HasPrefix(a, "env=") && r.env == a[4:]:
				return true
			}
		}
		return false
	}
	for _, l := range conf.ParseApache([]byte(text)).Lines {
		switch l.Name {
		case "Order":
			order = l.Args[0]
		case "Satisfy":
			satisfy = l.Args[0]
		case "Allow":
			allow = match(l.Args) || allow
		case "Deny":
			deny = match(l.Args) || deny
		case "Require":
			hasAuth = true
			auth = auth || l.Args[0] == "valid-user" && r.user != "" || l.Args[0] == "user" && slices.Contains(l.Args[1:], r.user)
		}
	}
	access := !deny || allow
	if order == "allow,deny" {
		access = allow && !deny
	}
	switch {
	case !hasAuth:
		return access
	case satisfy == "any":
		return access || auth
	}
	return access && auth
}

// apacheNew says what mod_authz_core decides.
func apacheNew(a conf.Apache, r apacheRequest) bool {
	lines := a.Lines
	var eval func(kind string) bool
	one := func(args []string) bool {
		for _, v := range args[1:] {
			switch p, err := netip.ParsePrefix(v); {
			case args[0] == "all":
				return v == "granted"
			case args[0] == "ip" && (err == nil && p.Contains(r.from) || strings.HasPrefix(r.from.String()+".", strings.TrimSuffix(v, ".")+".")),
				args[0] == "env" && r.env == v, args[0] == "user" && r.user == v:
				return true
			}
		}
		return args[0] == "valid-user" && r.user != ""
	}
	eval = func(kind string) bool {
		result := kind == "RequireAll"
		for len(lines) > 0 {
			l := lines[0]
			lines = lines[1:]
			var got bool
			switch {
			case l.Close:
				return result
			case l.Open:
				got = eval(l.Name)
			case l.Name == "Require" && l.Args[0] == "not":
				got = !one(l.Args[1:])
			case l.Name == "Require":
				got = one(l.Args)
			default:
				continue
			}
			if kind == "RequireAll" {
				result = result && got
			} else {
				result = result || got
			}
		}
		return result
	}
	return eval("RequireAny")
}

// TestApacheAccess: whatever the rules say, the same requests are let in and kept out.
func TestApacheAccess(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	requests := []apacheRequest{}
	for _, ip := range []string{"10.0.0.1", "10.0.1.1", "192.168.1.66", "192.168.1.7"} {
		for _, user := range []string{"", "anna", "bert"} {
			for _, env := range []string{"", "x"} {
				requests = append(requests, apacheRequest{netip.MustParseAddr(ip), user, env})
			}
		}
	}
	in, out := 0, 0
	for range 500 {
		var b strings.Builder
		b.WriteString("AuthType Basic\n")
		for _, l := range r.Perm(6) {
			switch {
			case l == 0 && r.IntN(5) > 0:
				b.WriteString("Order " + pick("deny,allow", "allow,deny") + "\n")
			case l == 1 && r.IntN(2) == 0:
				b.WriteString("Satisfy " + pick("any", "all") + "\n")
			case l == 2 && r.IntN(2) == 0:
				b.WriteString("Require " + pick("valid-user", "user anna", "user bert") + "\n")
			case l > 2 && r.IntN(3) > 0:
				fmt.Fprintf(&b, "%s from %s %s\n", pick("Allow", "Deny"), pick("all", "10.0.0.1", "10.0", "192.168.1.0/24", "env=x", "env=!x"), pick("", "10.0.1", "192.168.1.66"))
			}
		}
		before := convert.NewTree(nil)
		before.Write("srv/a/.htaccess", []byte(b.String()))
		before.Write("etc/apache2/apache2.conf", []byte("<Directory /srv>\nAllowOverride All\nRequire all granted\n</Directory>\n"))
		got, err := convert.Convert(Apache(), 12, 13, before)
		if err != nil {
			t.Fatal(err)
		}
		after := conf.ParseApache(got.Tree.Text("srv/a/.htaccess"))
		if len(got.Findings) == 0 {
			continue // nothing to convert
		}
		for _, l := range after.Lines {
			if l.Is("Order") || l.Is("Allow") || l.Is("Deny") || l.Is("Satisfy") {
				t.Fatalf("left: %s\nof\n%s", l.Raw, b.String())
			}
		}
		for _, q := range requests {
			old, now := apacheOld(b.String(), q), apacheNew(after, q)
			if old != now {
				t.Fatalf("request %+v: let in %t, then %t; before:\n%s\nafter:\n%s", q, old, now, b.String(), after.Bytes())
			}
			if old {
				in++
			} else {
				out++
			}
		}
	}
	if in < 200 || out < 200 {
		t.Errorf("%d let in, %d kept out: the rules are too alike", in, out)
	}
}
