package verify

import (
	"slices"
	"strings"
	"testing"
)

func TestKinds(t *testing.T) {
	for name, k := range Kinds() {
		if k.Run == nil || k.Proves == "" || !strings.HasSuffix(k.Proves, ".") {
			t.Errorf("%s: %+v; want what it runs, and what it proves in a sentence", name, k)
		}
		if k.Watch != "" && slices.Contains([]string{"25", "22", "143", "3306"}, k.Watch) {
			t.Errorf("%s: port %s is watched, and its service would log each look", name, k.Watch)
		}
	}
	for kind, params := range map[string]map[string]string{
		"http 80": nil, "http 443": {"scheme": "https"}, "http 8080": {"port": "8080"}, "ldap 389": nil, "ldap 636": {"tls": "start"}, "smtp ": nil, "tcp ": {"port": "749"},
	} {
		name, want, _ := strings.Cut(kind, " ")
		if got := Kinds()[name].WatchPort(params); got != want {
			t.Errorf("%s %v watches %q; want %q", name, params, got, want)
		}
	}
}
