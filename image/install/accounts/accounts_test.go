package accounts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"github.com/google/go-cmp/cmp"
)

func TestAdd(t *testing.T) {
	etc := t.TempDir()
	write(t, etc, "passwd", "root:x:0:0:root:/root:/bin/bash\nmysql:x:602:602::/var/lib/mysql:/bin/false\n", 0o644)
	write(t, etc, "shadow", "root:*:20000:0:99999:7:::\nmysql:!:20000::::::\n", 0o640)
	write(t, etc, "group", "root:x:0:\nsudo:x:27:\nusers:x:100:bob\n", 0o644)
	write(t, etc, "gshadow", "root:*::\nsudo:*::\nusers:!::bob\n", 0o640)
	u := User{Name: "admin", ID: 1000, Gecos: "Administrator", Home: "/home/admin", Shell: "/bin/bash", Groups: []string{"sudo", "users", "nosuch"}, Hash: "$6$x$y"}
	now := time.Unix(86400*20500, 0)
	for range 2 { // a second run changes nothing
		if err := Add(etc, u, now); err != nil {
			t.Fatal(err)
		}
		if err := SetHash(etc, "root", "$6$r$r", now); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{
		"passwd":  "root:x:0:0:root:/root:/bin/bash\nmysql:x:602:602::/var/lib/mysql:/bin/false\nadmin:x:1000:1000:Administrator:/home/admin:/bin/bash\n",
		"shadow":  "root:$6$r$r:20500:0:99999:7:::\nmysql:!:20000::::::\nadmin:$6$x$y:20500:0:99999:7:::\n",
		"group":   "root:x:0:\nsudo:x:27:admin\nusers:x:100:bob,admin\nadmin:x:1000:\n",
		"gshadow": "root:*::\nsudo:*::admin\nusers:!::bob,admin\nadmin:!::\n",
	}
	got := map[string]string{}
	for n := range want {
		b, err := os.ReadFile(filepath.Join(etc, n))
		if err != nil {
			t.Fatal(err)
		}
		got[n] = string(b)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("account files (-want +got):\n%s", d)
	}
	if st, err := os.Stat(filepath.Join(etc, "shadow")); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("mode of shadow = %v, %v; want 0640", st.Mode(), err)
	}
}

func TestAddRefuses(t *testing.T) {
	etc := t.TempDir()
	write(t, etc, "passwd", "bob:x:1000:1000::/home/bob:/bin/sh\n", 0o644)
	err := Add(etc, User{Name: "admin", ID: 1000}, time.Now())
	if err == nil || !strings.Contains(err.Error(), "user id 1000 belongs to bob already") {
		t.Errorf("Add = %v; want the id refused", err)
	}
	if err := SetHash(etc, "root", "a:b", time.Now()); err == nil {
		t.Error("SetHash accepted a colon")
	}
}

func TestHashes(t *testing.T) {
	// From [MS-NLMP] 4.2.2.1.2, password "Password".
	if got, want := NTHash("Password"), "A4F49C406510BDCAB6824EE7C30FD852"; got != want {
		t.Errorf("NTHash = %s; want %s", got, want)
	}
	h, err := Crypt("Grüße 1234")
	if err != nil {
		t.Fatal(err)
	}
	d, err := shacrypt.Decode(h)
	if err != nil {
		t.Fatalf("Decode(%s): %v", h, err)
	}
	if !d.Match("Grüße 1234") || d.Match("Grüße 1235") {
		t.Errorf("Crypt(…) = %s does not tell right from wrong passwords", h)
	}
}

func write(t *testing.T, dir, name, s string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(s), mode); err != nil {
		t.Fatal(err)
	}
}
