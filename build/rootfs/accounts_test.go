package rootfs

import (
	"strings"
	"testing"

	"sayasystems.com/atlas/image/pack"
)

func TestAccountFiles(t *testing.T) {
	got := accountFiles([]pack.Account{
		{Name: "sambashare", ID: 611},
		{Name: "mysql", ID: 600, Home: "/var/lib/mysql", Groups: []string{"ssl-cert"}},
	})
	for file, lines := range map[string][]string{
		"passwd": {"mysql:x:600:600:mysql:/var/lib/mysql:/usr/sbin/nologin", "sambashare:x:611:611:sambashare:/nonexistent:/usr/sbin/nologin", "admin:x:1000:1000:admin:/home/admin:/bin/bash"},
		"group":  {"mysql:x:600:", "sambashare:x:611:", "ssl-cert:x:649:mysql", "admin:x:1000:"},
		"shadow": {"mysql:!:20089::::::", "atlas-verify:*:20089::::::"},
	} {
		for _, l := range lines {
			if !strings.Contains("\n"+got[file], "\n"+l+"\n") {
				t.Errorf("%s has no line %q:\n%s", file, l, got[file])
			}
		}
	}
	for file, text := range got {
		names, ids := map[string]bool{}, map[string]bool{}
		for line := range strings.Lines(text) {
			f := strings.Split(strings.TrimSpace(line), ":")
			if names[f[0]] {
				t.Errorf("%s names %s twice", file, f[0])
			}
			names[f[0]] = true
			if file == "passwd" || file == "group" {
				if ids[f[2]] {
					t.Errorf("%s uses ID %s twice", file, f[2])
				}
				ids[f[2]] = true
			}
		}
	}
}
