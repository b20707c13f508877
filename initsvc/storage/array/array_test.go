package array

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/roles"
)

func TestLagging(t *testing.T) {
	for _, c := range []struct {
		name  string
		disks []roles.Disk
		want  []int
		err   error
	}{
		{"all well", []roles.Disk{{Events: 5}, {Events: 5}}, nil, nil},
		{"the second was dropped", []roles.Disk{{Events: 9, Missing: []int{1}}, {Events: 5}}, []int{1}, nil},
		{"the first was dropped", []roles.Disk{{Events: 5}, {Events: 9, Missing: []int{0}}}, []int{0}, nil},
		{"each without the other, equal events", []roles.Disk{{Events: 9, Missing: []int{1}}, {Events: 9, Missing: []int{0}}}, nil, ErrDiverged},
		{"each without the other, one newer", []roles.Disk{{Events: 12, Missing: []int{1}}, {Events: 9, Missing: []int{0}}}, nil, ErrDiverged},
		{"degraded without anybody here", []roles.Disk{{Events: 9, Missing: []int{5}}}, nil, nil},
	} {
		slots := []int{0, 1}[:len(c.disks)]
		got, err := Lagging(c.disks, slots)
		if !errors.Is(err, c.err) || !cmp.Equal(c.want, got) {
			t.Errorf("%s: Lagging = %v, %v; want %v, %v", c.name, got, err, c.want, c.err)
		}
	}
}

func TestUnfinished(t *testing.T) {
	label := func(gen uint64) *roles.Label { return &roles.Label{Set: "s", Generation: gen} }
	disks := []roles.Disk{
		{Dev: "a", Label: label(1)},
		{Dev: "b", LabelErr: "torn", Array: "x"},
		{Dev: "c", Label: label(2)},
		{Dev: "d", Label: &roles.Label{Set: "other", Generation: 1}},
	}
	Unfinished(disks, map[string]string{"b": "s"})
	for i, want := range []bool{true, true, false, false} {
		if disks[i].Blank != want || disks[i].Blank && (disks[i].Label != nil || disks[i].LabelErr != "" || disks[i].Array != "") {
			t.Errorf("disk %s: %+v; want blank: %t", disks[i].Dev, disks[i], want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{512: "512 B", 2_000_000: "2.0 MB", 500_107_862_016: "500 GB", 4_000_787_030_016: "4.0 TB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s; want %s", n, got, want)
		}
	}
}
