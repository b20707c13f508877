package mounts

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	const text = `22 1 254:1 / / ro,relatime shared:1 - squashfs /dev/vda2 ro,errors=continue
40 22 9:127 /etc/a\040b /etc rw,noatime - ext4 /dev/md127 rw
broken
41 22 0:5 / /dev rw,nosuid shared:2 master:3 - devtmpfs devtmpfs rw,size=4k
`
	want := []Entry{
		{ID: 22, Point: "/", Type: "squashfs", Source: "/dev/vda2", ReadOnly: true},
		{ID: 40, Point: "/etc", Type: "ext4", Source: "/dev/md127"},
		{ID: 41, Point: "/dev", Type: "devtmpfs", Source: "devtmpfs"},
	}
	got, err := parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := unescape(`a\040b\134\01`); got != `a b\\01` {
		t.Errorf("unescape = %q", got)
	}
}

func TestDevLinks(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // again does no harm
		if err := DevLinks(dir); err != nil {
			t.Fatal(err)
		}
	}
	if to, err := os.Readlink(dir + "/stdin"); err != nil || to != "/proc/self/fd/0" {
		t.Errorf("stdin leads to %q, %v", to, err)
	}
	if err := DevLinks(dir + "/none"); err == nil {
		t.Error("a directory that is not there is no error")
	}
}
