package roles

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// disk is a label partition in memory. After left more bytes, power goes: nothing is written any more.
type disk struct {
	b    []byte
	left int
	bad  int // half that cannot be read, + 1
}

var errPower = errors.New("power is gone")

func newDisk() *disk { return &disk{b: make([]byte, PartitionSize), left: 1 << 30} }

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	if d.bad > 0 && int(off/copySize) == d.bad-1 {
		return 0, errors.New("input/output error")
	}
	n := copy(p, d.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	n := copy(d.b[off:], p[:min(len(p), d.left)])
	d.left -= n
	if n < len(p) {
		return n, errPower
	}
	return n, nil
}

func (d *disk) Sync() error {
	if d.left <= 0 {
		return errPower
	}
	return nil
}

func testLabel() Label {
	return Label{
		Version: LabelVersion, Site: "site-1", SiteName: "Miller Dental", Set: "set-1", Array: "md-1", Role: Primary, Level: RAID1,
		Members:    []Member{{ID: "a", Serial: "SA", Model: "Disk", Size: 1 << 30}, {ID: "b", Serial: "SB", Model: "Disk", Size: 1 << 30}},
		Generation: 7, Image: "1.0", Server: "left", Written: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func TestLabelRoundTrip(t *testing.T) {
	d := newDisk()
	want := testLabel()
	for g := uint64(7); g < 12; g++ {
		want.Generation = g
		if err := WriteLabel(d, want); err != nil {
			t.Fatal(err)
		}
		got, err := ReadLabel(d)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("generation %d (-want +got):\n%s", g, diff)
		}
	}
	// A disk that returns with a higher generation of its former life must not win over what is written now.
	want.Generation = 2
	if err := WriteLabel(d, want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadLabel(d); err != nil || got.Generation != 2 {
		t.Errorf("ReadLabel = generation %d, %v; want what was written last, 2", got.Generation, err)
	}
}

// Power may go at any byte: what is read then is the old label or the new one, whole.
func TestPowerCutWhileWriting(t *testing.T) {
	old, now := testLabel(), testLabel().Eject(1, "pulled from bay 2")
	whole := newDisk()
	if err := WriteLabel(whole, old); err != nil {
		t.Fatal(err)
	}
	b, err := Encode(now, 2)
	if err != nil {
		t.Fatal(err)
	}
	sawOld, sawNew := false, false
	for cut := range 2*len(b) + 1 {
		d := &disk{b: append([]byte(nil), whole.b...), left: cut}
		_ = WriteLabel(d, now)
		got, err := ReadLabel(d)
		if err != nil {
			t.Fatalf("cut after %d bytes: %v", cut, err)
		}
		switch {
		case cmp.Equal(got, old):
			sawOld = true
		case cmp.Equal(got, now):
			sawNew = true
		default:
			t.Fatalf("cut after %d bytes: neither the old nor the new label: %+v", cut, got)
		}
		// What the next writer does on top of that must hold, too.
		d.left = 1 << 30
		if err := WriteLabel(d, now); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadLabel(d); err != nil || !cmp.Equal(got, now) {
			t.Fatalf("cut after %d bytes, written again: %+v, %v", cut, got, err)
		}
	}
	if !sawOld || !sawNew {
		t.Errorf("saw old %v and new %v; want both", sawOld, sawNew)
	}
}

func TestFirstWriteCut(t *testing.T) {
	for _, cut := range []int{1, 20, 200} {
		d := newDisk()
		d.left = cut
		_ = WriteLabel(d, testLabel())
		if _, err := ReadLabel(d); !errors.Is(err, ErrTorn) {
			t.Errorf("cut after %d bytes of the first write: %v; want ErrTorn", cut, err)
		}
	}
}

func TestReadLabelErrors(t *testing.T) {
	written := func(spoil func(d *disk)) *disk {
		d := newDisk()
		if err := WriteLabel(d, testLabel()); err != nil {
			t.Fatal(err)
		}
		spoil(d)
		return d
	}
	tests := []struct {
		name string
		disk *disk
		want error
	}{
		{"empty", newDisk(), ErrNone},
		{"one copy damaged", written(func(d *disk) { d.b[100]++ }), nil},
		{"one half unreadable", written(func(d *disk) { d.bad = 1 }), nil},
		{"both damaged", written(func(d *disk) { d.b[100]++; d.b[copySize+100]++ }), ErrCorrupt},
		{"garbage", written(func(d *disk) { copy(d.b, "garbage!"); copy(d.b[copySize:], "garbage!") }), ErrCorrupt},
		{"cut short", &disk{b: written(func(*disk) {}).b[:64]}, ErrTorn},
		{"length beyond all", written(func(d *disk) { d.b[15] = 0xff; d.b[copySize+15] = 0xff }), ErrCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.disk.b) < PartitionSize {
				tt.disk.b = append(tt.disk.b, make([]byte, PartitionSize-len(tt.disk.b))...)
			}
			_, err := ReadLabel(tt.disk)
			if !errors.Is(err, tt.want) {
				t.Errorf("ReadLabel = %v; want %v", err, tt.want)
			}
		})
	}
}

func TestFutureLabel(t *testing.T) {
	d := newDisk()
	if err := WriteLabel(d, testLabel()); err != nil {
		t.Fatal(err)
	}
	copy(d.b, frame(LabelVersion+1, 9, []byte(`{"version":2}`))) // an older copy beside it is no way back
	_, err := ReadLabel(d)
	if f, ok := errors.AsType[*FutureError](err); !ok || f.Version != LabelVersion+1 || !isFuture(err.Error()) {
		t.Errorf("ReadLabel = %v; want version %d", err, LabelVersion+1)
	}
	if err := WriteLabel(d, testLabel()); err == nil {
		t.Error("WriteLabel wrote over a label of the future")
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*Label)
		want  string
	}{
		{"good", func(*Label) {}, ""},
		{"version", func(l *Label) { l.Version = 9 }, "version 9"},
		{"site", func(l *Label) { l.Site = "" }, "site"},
		{"set", func(l *Label) { l.Set = "" }, "set"},
		{"array", func(l *Label) { l.Array = "" }, "array"},
		{"role", func(l *Label) { l.Role = "king" }, "king"},
		{"level", func(l *Label) { l.Level = "raid0" }, "raid0"},
		{"members", func(l *Label) { l.Members = l.Members[:1] }, "1 members"},
		{"raid5 of two", func(l *Label) { l.Level = RAID5 }, "2 members"},
		{"self", func(l *Label) { l.Self = 2 }, "self 2"},
		{"generation", func(l *Label) { l.Generation = 0 }, "generation"},
		{"same member twice", func(l *Label) { l.Members[1].ID = "a" }, "twice"},
		{"left in the future", func(l *Label) { l.Members[1].Ejected = 99 }, "99"},
		{"all left", func(l *Label) { l.Members[0].Ejected, l.Members[1].Ejected = 1, 1 }, "no member is active"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := testLabel()
			tt.spoil(&l)
			err := l.Validate()
			if tt.want == "" && err == nil {
				return
			}
			if err == nil || tt.want == "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Validate = %v; want %q", err, tt.want)
			}
		})
	}
}

func TestEnough(t *testing.T) {
	tests := []struct {
		level   Level
		present string
		want    bool
	}{
		{RAID1, "10", true},
		{RAID1, "00", false},
		{RAID1, "001", true},
		{RAID5, "110", true},
		{RAID5, "100", false},
		{RAID5, "111", true},
		{RAID10, "1010", true},
		{RAID10, "1100", false},
		{RAID10, "0111", true},
		{RAID10, "0110", true},
		{RAID10, "10101", true},
		{RAID10, "00111", false},
		{RAID10, "01110", false},
	}
	for _, tt := range tests {
		var p []bool
		for _, c := range tt.present {
			p = append(p, c == '1')
		}
		if got := tt.level.Enough(p); got != tt.want {
			t.Errorf("%s with %s: Enough = %v; want %v", tt.level, tt.present, got, tt.want)
		}
	}
}

func TestTransitions(t *testing.T) {
	l := testLabel()
	before := l.clone()
	e := l.Eject(1, "pulled from bay 2")
	if diff := cmp.Diff(before, l); diff != "" {
		t.Errorf("Eject changed its receiver:\n%s", diff)
	}
	if e.Generation != 8 || e.Members[1].Ejected != 8 || e.Members[1].Reason != "pulled from bay 2" || e.Head() == l.Head() || !e.knows(l.Head()) || l.knows(e.Head()) {
		t.Errorf("Eject = %+v", e)
	}
	if last := e.Eject(0, "x"); !cmp.Equal(last, e) {
		t.Errorf("ejecting the last active member = %+v; want no change", last)
	}
	if other := l.Eject(0, "x"); other.Head() == e.Head() {
		t.Error("two sides that part have the same lineage")
	}
	j := e.Join(1, Disk{Serial: "SC", Model: "New", Size: 2 << 30}, "c")
	if want := (Member{ID: "c", Serial: "SC", Model: "New", Size: 2 << 30}); j.Generation != 9 || j.Members[1] != want || j.Head() != e.Head() {
		t.Errorf("Join = %+v", j)
	}
	b := j.Boot("right", "2.0", time.Unix(0, 0))
	if b.Generation != 10 || b.Server != "right" || b.Image != "2.0" || b.Head() != j.Head() {
		t.Errorf("Boot = %+v", b)
	}
	for _, x := range []Label{e, j, b} {
		if err := x.Validate(); err != nil {
			t.Error(err)
		}
	}
	// A long life does not make the label grow without bound.
	for range 2 * maxLineage {
		e = e.Join(1, Disk{}, "x").Eject(1, "y")
	}
	if n := len(e.Lineage); n != maxLineage {
		t.Errorf("%d names of lineage; want %d", n, maxLineage)
	}
	if _, err := Encode(e, 1); err != nil {
		t.Error(err)
	}
}
