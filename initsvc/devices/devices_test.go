package devices

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	msg := "add@/devices/pci0000:00/0000:00:03.0/virtio2/block/vdb\x00ACTION=add\x00DEVPATH=/devices/x\x00SUBSYSTEM=block\x00DEVNAME=vdb\x00DEVTYPE=disk\x00SEQNUM=7\x00"
	want := Event{Action: "add", Path: "/devices/pci0000:00/0000:00:03.0/virtio2/block/vdb", Subsystem: "block", DevName: "vdb", DevType: "disk"}
	got, err := Parse([]byte(msg))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"", "libudev\x00\xfe\xed", "add", "@/x", "add@x"} {
		if e, err := Parse([]byte(bad)); err == nil {
			t.Errorf("Parse(%q) = %+v; want an error", bad, e)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("add@/d\x00MODALIAS=pci:v1\x00"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if e, err := Parse(msg); err == nil && (e.Action == "" || e.Path == "") {
			t.Errorf("Parse(%q) = %+v", msg, e)
		}
	})
}
