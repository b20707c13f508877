package roles

import (
	"encoding/json"
	"testing"
	"time"
)

func FuzzDecode(f *testing.F) {
	good, err := Encode(testLabel(), 3)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:40])
	f.Add(frame(LabelVersion+1, 1, []byte("{}")))
	f.Add(frame(LabelVersion, 1, []byte(`{"members":null}`)))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, seq, err := Decode(b)
		if err != nil {
			return
		}
		if err := l.Validate(); err != nil {
			t.Errorf("Decode let through: %v", err)
		}
		if _, err := Encode(l, seq); err != nil {
			t.Errorf("Encode of what was decoded: %v", err)
		}
	})
}

// FuzzDecide feeds views that no boot would make: whatever peers, disks and orders say, there is a decision with a reason.
func FuzzDecide(f *testing.F) {
	p, s := set("p", RAID1, 2, Primary), set("s", RAID5, 3, Secondary)
	for _, v := range []View{
		{Site: "site-1", Disks: p},
		{Site: "site-1", Disks: append(without(p[:1], 1), p[1])},
		{Site: "site-1", Disks: append(s, p...), Order: &Order{Set: "s", Members: []string{"s0", "s1"}}},
		{Site: "site-1", Disks: p[:1], Policy: Policy{StartAttested: true}, Peers: []Attestation{peer("right", s...)}, Seen: []Holding{{Set: "p", Lineage: "x"}}},
	} {
		b, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v View
		if json.Unmarshal(b, &v) != nil {
			return
		}
		d := Decide(v)
		if d.Action != Start && d.Action != Hold {
			t.Fatalf("action %q", d.Action)
		}
		if d.Action == Hold && (len(d.Reasons) == 0 || d.Reasons[0].Text == "" || d.Reasons[0].Next == "") {
			t.Fatalf("hold without reason: %+v", d)
		}
		for _, w := range d.Labels("left", "1", time.Unix(0, 0)) {
			if err := w.Label.Validate(); err != nil {
				t.Errorf("would write %v", err)
			}
		}
	})
}
