package check

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVisible(t *testing.T) {
	const text = `256 1 7:1 / / ro - squashfs /dev/loop1 ro
70 256 0:68 /atlas/shadow /etc/shadow rw - tmpfs run rw
72 256 254:0 /set/etc/0.2.0 /etc rw - ext4 /dev/vda rw
242 72 7:1 /etc/alternatives /etc/alternatives ro - squashfs /dev/loop1 ro
300 256 0:9 / /run rw - tmpfs run rw
301 300 0:9 / /run/with\040space rw - tmpfs run rw
310 70 0:9 / /etc/shadow/x rw - tmpfs run rw
bad line
`
	want := []string{"/", "/etc", "/etc/alternatives", "/run", "/run/with space"}
	if d := cmp.Diff(want, visible(text)); d != "" {
		t.Error(d)
	}
}
