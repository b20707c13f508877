package verify

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write README.md anew")

// TestReadme holds the list for pack authors against the registry.
func TestReadme(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Kinds of probe\n\nFor authors of service packs; made from `registry.go` by `go test ./sentry/verify -run Readme -update`. What a parameter means, and its\n" +
		"default, stands before each kind's function. All kinds take `timeout` (of a run, 10s), `every` (between two runs, 30s) and `secret` (the file of the\n" +
		"password, /etc/atlas/verify.secret).\n\n| kind | proves | parameters |\n| --- | --- | --- |\n")
	kinds := Kinds()
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, kinds[name].Proves, strings.Join(kinds[name].Params, ", "))
	}
	if *update {
		if err := os.WriteFile("README.md", []byte(b.String()), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("README.md")
	if err != nil || string(have) != b.String() {
		t.Errorf("README.md is not as the registry has it (%v); run go test ./sentry/verify -run Readme -update", err)
	}
}

func TestKinds(t *testing.T) {
	for name, k := range Kinds() {
		if k.Run == nil || k.Proves == "" || !strings.HasSuffix(k.Proves, ".") {
			t.Errorf("%s: %+v; want what it runs, and what it proves in a sentence", name, k)
		}
		if k.Watch != "" && slices.Contains([]string{"25", "22", "143", "445", "3306", "5432"}, k.Watch) {
			t.Errorf("%s: port %s is watched, and its service would log each look, or fork", name, k.Watch)
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
