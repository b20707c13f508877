package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/dataform"
)

// set is a disk set with data that are kept by copying: no daemon and no rights are needed.
type set struct {
	t    *testing.T
	dir  string
	now  time.Time
	free int64
	pack pack.Pack
}

func newSet(t *testing.T) *set {
	s := &set{t: t, dir: t.TempDir(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), free: 1 << 40}
	s.pack = pack.Pack{Name: "mariadb", Title: "Database", Formats: []pack.Format{{Path: "/var/lib/mysql", Kind: dataform.Copy}}}
	if err := os.MkdirAll(s.dir+"/var/lib", 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *set) keeper(release string) *Keeper {
	s.now = s.now.Add(time.Hour)
	return New(Options{
		Set: s.dir, Image: "/", Release: release, Work: s.t.TempDir(), Now: func() time.Time { return s.now }, Free: func(string) (int64, error) { return s.free, nil },
	})
}

func (s *set) ready(release string) error {
	return s.keeper(release).Ready(s.t.Context(), s.pack, false)
}

func (s *set) must(release string) {
	s.t.Helper()
	if err := s.ready(release); err != nil {
		s.t.Fatalf("Debian %s: %v", release, err)
	}
}

// write is what a daemon does to the data.
func (s *set) write(text string) {
	s.t.Helper()
	if err := errors.Join(os.MkdirAll(s.dir+"/var/lib/mysql", 0o755), os.WriteFile(s.dir+"/var/lib/mysql/data", []byte(text), 0o600)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *set) want(text string) {
	s.t.Helper()
	if got, err := os.ReadFile(s.dir + "/var/lib/mysql/data"); err != nil || string(got) != text {
		s.t.Errorf("data: %q, %v; want %q", got, err, text)
	}
}

func TestCopy(t *testing.T) {
	s := newSet(t)
	s.must("12")
	s.write("of 12")
	s.must("12")
	s.must("13")
	s.want("of 12")
	s.write("of 13")
	s.must("13")
	s.want("of 13")
	s.must("12")
	s.want("of 12")
	f := s.keeper("12").Findings(s.pack, "left")
	if len(f) != 1 || !strings.Contains(f[0].What, s.dir+"/forms/mariadb-mysql-13.aside-") {
		t.Errorf("findings: %+v", f)
	}
	aside, _ := filepath.Glob(s.dir + "/forms/*.aside-*")
	if len(aside) != 1 {
		t.Fatalf("set aside: %q", aside)
	}
	if got, _ := os.ReadFile(aside[0] + "/data"); string(got) != "of 13" {
		t.Errorf("set aside: %q", got)
	}
	s.write("of 12 again")
	s.must("13")
	s.want("of 12 again")
	freed, titles, err := s.keeper("13").Commit(t.Context(), []pack.Pack{s.pack})
	if err != nil || freed == 0 || len(titles) != 1 {
		t.Errorf("Commit = %d, %q, %v", freed, titles, err)
	}
	left, _ := filepath.Glob(s.dir + "/forms/*")
	if len(left) != 1 {
		t.Errorf("left: %q", left)
	}
	if st, err := os.Stat(s.dir + "/forms"); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("directory of the record: %v, %v", st.Mode(), err)
	}
	var r *RefusedError
	if err := s.ready("12"); !errors.As(err, &r) || r.Plan.Why != dataform.Given {
		t.Errorf("12 after Commit: %v", err)
	}
	s.want("of 12 again")
}

func TestNoRoom(t *testing.T) {
	s := newSet(t)
	s.must("12")
	s.write("of 12")
	s.free = 1 << 20
	err := s.ready("13")
	f := s.keeper("13").Refusal(s.pack, "left", err)
	if err == nil || !strings.Contains(f.What, "of room on the disk set, of which 1 MB are free") || !strings.Contains(f.Next, "atlas service start mariadb") {
		t.Errorf("finding: %+v", f)
	}
	s.free = 1 << 40
	s.must("12")
	s.must("13")
	s.want("of 12")
}

// TestStandby: data of a standby that its server does not read are set aside, and it begins with new ones.
func TestStandby(t *testing.T) {
	s := newSet(t)
	s.must("13")
	s.write("of 13")
	var r *RefusedError
	if err := s.ready("12"); !errors.As(err, &r) {
		t.Errorf("as primary: %v; want it refused", err)
	}
	k := s.keeper("12")
	if err := k.Ready(t.Context(), s.pack, true); err != nil {
		t.Fatal(err)
	}
	if exists(s.dir + "/var/lib/mysql") {
		t.Error("the data are still where the daemon looks")
	}
	s.write("of 12")
	s.must("12")
	s.want("of 12")
	f := k.Findings(s.pack, "left")
	aside, _ := filepath.Glob(s.dir + "/forms/mariadb-mysql-13.aside-*/data")
	if len(f) != 1 || f[0].ID != "data-aside-mariadb" || len(aside) != 1 {
		t.Errorf("findings %+v, aside %q", f, aside)
	}
}

// TestCutNames cuts between all names that are changed, both ways, and looks whether the next start ends what was begun, whatever its image.
func TestCutNames(t *testing.T) {
	for _, verb := range []dataform.Verb{dataform.Forward, dataform.Back} {
		for cut := range 4 {
			for _, next := range []string{"12", "13"} {
				t.Run(fmt.Sprintf("%s cut at %d, then %s", verb, cut, next), func(t *testing.T) {
					s := newSet(t)
					s.must("12")
					s.write("of 12")
					data, kept := s.dir+"/var/lib/mysql", s.dir+"/forms/mariadb-mysql-12"
					do := func(errs ...error) {
						if err := errors.Join(errs...); err != nil {
							t.Fatal(err)
						}
					}
					d := dataform.Doing{Verb: verb, From: 12, To: 13, Step: dataform.Place, Dir: kept + ".new", Aside: kept + ".aside-x", At: s.now}
					want := "of 12"
					if verb == dataform.Forward {
						if cut == 0 { // while the copy is made
							d.Step = dataform.Build
						}
						do(os.Mkdir(kept+".new", 0o755), os.WriteFile(kept+".new/data", []byte("of 12"), 0o600))
						if cut > 1 {
							do(os.Rename(kept+".new", kept))
						}
					} else {
						s.must("13")
						s.write("of 13")
						d = dataform.Doing{Verb: verb, From: 13, To: 12, Step: dataform.Place, Aside: s.dir + "/forms/mariadb-mysql-13.aside-x", At: s.now}
						if cut > 0 {
							do(os.Rename(data, d.Aside))
						}
						if cut > 1 {
							do(os.Rename(kept, data))
						}
					}
					k := s.keeper("13")
					rec, err := k.load()
					do(err)
					e := *rec.Data["mariadb /var/lib/mysql"]
					e.Doing = &d
					rec.Data["mariadb /var/lib/mysql"] = &e
					do(k.save(rec))
					s.must(next)
					s.want(want)
					rec, err = k.load()
					do(err)
					if e := rec.Data["mariadb /var/lib/mysql"]; fmt.Sprint(e.Form) != next || e.Doing != nil {
						t.Errorf("record: %+v", e)
					}
				})
			}
		}
	}
}

// TestDamagedRecord: with a record that cannot be read nothing is touched, and a person is told.
func TestDamagedRecord(t *testing.T) {
	s := newSet(t)
	s.must("12")
	s.write("of 12")
	newer, err := json.Marshal(dataform.Record{Format: dataform.RecordFormat + 1})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"{": "is damaged", string(newer): "written by a newer version of ATLAS"} {
		if err := os.WriteFile(s.dir+"/forms/record.json", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := s.ready("13")
		if f := s.keeper("13").Refusal(s.pack, "left", err); err == nil || !strings.Contains(f.What, want) || f.Next == "" {
			t.Errorf("record %q: %+v", text, f)
		}
		s.want("of 12")
	}
}

func TestStatus(t *testing.T) {
	s := newSet(t)
	s.must("12")
	s.write("of 12")
	s.must("13")
	got := s.keeper("13").Status([]pack.Pack{s.pack}, true)
	if len(got) != 1 || got[0].Takes != 13 || got[0].Form != 13 || len(got[0].Kept) != 1 || got[0].Room < 64<<20 {
		t.Errorf("Status = %+v", got)
	}
	if got := s.keeper("13").Status([]pack.Pack{s.pack}, false); len(got) != 1 || got[0].Form != 0 || got[0].Takes != 13 {
		t.Errorf("Status without a set = %+v", got)
	}
}
