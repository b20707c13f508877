package maker

import (
	"net"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for mac, want := range map[string]string{
		"00:1b:21:00:00:01": "Intel", "3c:d9:2b:00:00:01": "Hewlett", "00:50:56:00:00:01": "VMware", "52:54:00:00:00:03": "QEMU",
		"02:a7:1a:50:00:01": "ATLAS", "02:00:00:00:00:01": "no maker's",
	} {
		m, err := net.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		if got := Of(m); !strings.Contains(got, want) {
			t.Errorf("Of(%s) = %q; want it to name %s", mac, got, want)
		}
	}
	if got := Of(nil); got != "" {
		t.Errorf("Of(nil) = %q; want nothing", got)
	}
}
