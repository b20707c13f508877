package watch

import "testing"

func TestTemporary(t *testing.T) {
	for name, want := range map[string]bool{
		"etc/4913": true, "etc/.hosts.swp": true, "etc/.#hosts": true, "etc/x/a.dpkg-new": true, "etc/passwd.lock": true, "etc/passwd.4711": true,
		"etc/shadow+": true, "etc/sedAb12Xy": true, "etc/.pwd.lock": true,
		"etc/passwd": false, "etc/passwd-": false, "etc/hosts~": false, "etc/passwd.old": false, "etc/other.lock": false, "etc/sediment": false,
		"etc/a.dpkg-old": false, "etc/passwd.": false, "etc/.swp": false,
	} {
		if got := Temporary(name); got != want {
			t.Errorf("Temporary(%q) = %v; want %v", name, got, want)
		}
	}
}
