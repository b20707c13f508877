package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/roles"
)

// writer adds notes one after the other from the office network and remembers those that the server acknowledged.
type writer struct {
	mu     sync.Mutex
	acked  []string
	failed int
	stop   context.CancelFunc
	done   chan struct{}
}

func (s *site) startWriter(prefix string) *writer {
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for i := 0; ctx.Err() == nil && i < 2000; i++ {
			note := fmt.Sprintf("%s-%04d", prefix, i)
			_, err := s.lab(time.Minute, "client", "--", "curl", "-sSf", "-m", "30", "-o", "/dev/null",
				"--data-urlencode", "text="+note, "http://"+serviceAddress+"/notes/")
			w.mu.Lock()
			if err == nil {
				w.acked = append(w.acked, note)
			} else {
				w.failed++
			}
			w.mu.Unlock()
		}
	}()
	return w
}

func (w *writer) end() (acked []string, failed int) {
	w.stop()
	<-w.done
	return w.acked, w.failed
}

func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

func (s *site) hasAll(t *testing.T, acked []string) {
	t.Helper()
	got := s.client(t, "curl", "-sSf", "-m", "60", "http://"+serviceAddress+"/notes/?format=text&limit=100000")
	missing := 0
	for _, n := range acked {
		if !strings.Contains(got, n) {
			missing++
			t.Errorf("note %s was acknowledged and is gone", n)
		}
	}
	t.Logf("%d notes were acknowledged, %d of them are missing", len(acked), missing)
}

type setState struct {
	Degraded bool `json:"degraded"`
	Members  []struct {
		Bay   int    `json:"bay"`
		State string `json:"state"`
	} `json:"members"`
}

type siteState struct {
	Servers []struct {
		Name  string `json:"name"`
		State struct {
			Set      *setState `json:"set"`
			SlotGood bool      `json:"slot_good"`
			Reasons  []roles.Reason
			Findings []struct {
				ID, What, Where, Next string
			}
		} `json:"state"`
	} `json:"servers"`
}

func (s *site) set(t *testing.T, server, address string) (setState, []string, error) {
	t.Helper()
	var st siteState
	if err := s.api(t, address, &st); err != nil {
		return setState{}, nil, err
	}
	for _, sv := range st.Servers {
		if sv.Name == server && sv.State.Set != nil {
			var findings []string
			for _, f := range sv.State.Findings {
				findings = append(findings, f.ID+": "+f.What+" "+f.Where+" "+f.Next)
			}
			return *sv.State.Set, findings, nil
		}
	}
	return setState{}, nil, fmt.Errorf("%s has no set: %w", server, errNotYet)
}

func (s *site) bay(server string, n int) string {
	return filepath.Join(s.dir, "servers", server, "bays", strconv.Itoa(n))
}

// label reads a member's label from the disk's file, as another machine would find it.
func (s *site) label(t *testing.T, server string, bay int) roles.Label {
	t.Helper()
	f, err := os.Open(filepath.Join(s.bay(server, bay), "disk.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := roles.ReadLabel(io.NewSectionReader(f, layout.MiB, layout.LabelSize))
	if err != nil {
		t.Fatalf("label of the disk in bay %d of %s: %v", bay, server, err)
	}
	return l
}

func (s *site) diskHash(t *testing.T, server string, bay int) string {
	t.Helper()
	f, err := os.Open(filepath.Join(s.bay(server, bay), "disk.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s *site) serial(t *testing.T, server string, bay int) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.bay(server, bay), "disk.json"))
	if err != nil {
		t.Fatal(err)
	}
	return between(string(data), `"serial": "`, `"`)
}

func between(s, a, b string) string {
	_, s, _ = strings.Cut(s, a)
	s, _, _ = strings.Cut(s, b)
	return s
}

// TestDiskPulled: a disk pulled under load costs nothing but redundancy, is told, and a new disk is rebuilt into the set; the
// set starts by itself on the disk that is left.
func TestDiskPulled(t *testing.T) {
	s := use(t, "vm")
	s.healthy(t, "left", "right")
	w := s.startWriter("pulled-" + strconv.FormatInt(time.Now().Unix(), 36))
	eventually(t, "notes are written", time.Minute, func() error { return more(w, 3) })

	s.must(t, time.Minute, "bay", "pull", "left", "2")
	at := w.count()
	eventually(t, "notes are written after the disk was pulled", time.Minute, func() error { return more(w, at+5) })
	eventually(t, "the page tells that the set is degraded", time.Minute, func() error {
		set, findings, err := s.set(t, "left", "10.7.0.11")
		if err != nil {
			return err
		}
		if told := strings.Join(findings, "\n"); !set.Degraded || !strings.Contains(told, "bay 2") {
			return fmt.Errorf("%w: degraded %v, findings %q", errNotYet, set.Degraded, told)
		}
		return nil
	})
	if l := s.label(t, "left", 1); l.Members[1].Ejected == 0 {
		t.Errorf("the label on bay 1 does not record that the disk of bay 2 left: %+v", l.Members)
	}

	// The disk that is left starts alone, because its label says that the other one went.
	acked, failed := w.end()
	t.Logf("under load while the disk was pulled: %d notes acknowledged, %d requests failed", len(acked), failed)
	if failed > 0 {
		t.Errorf("%d requests failed while a disk was pulled; want 0", failed)
	}
	s.off(t, "left")
	s.on(t, "left")
	s.wait(t, "left", "primary")
	s.wait(t, "left", "ready")
	s.hasAll(t, acked)

	s.must(t, time.Minute, "bay", "insert", "left", "2")
	eventually(t, "the new disk is rebuilt into the set", 10*time.Minute, func() error {
		set, _, err := s.set(t, "left", "10.7.0.11")
		if err != nil {
			return err
		}
		if set.Degraded || len(set.Members) != 2 || set.Members[1].State != "active" {
			return fmt.Errorf("%w: %+v", errNotYet, set)
		}
		return nil
	})
	one, two := s.label(t, "left", 1), s.label(t, "left", 2)
	if one.Generation != two.Generation || one.Members[1].Ejected != 0 || one.Members[1].Serial != s.serial(t, "left", 2) {
		t.Errorf("labels after the rebuild:\nbay 1 %+v\nbay 2 %+v", one, two)
	}
	s.healthy(t, "left", "right")
}

func more(w *writer, n int) error {
	if c := w.count(); c < n {
		return fmt.Errorf("%w: %d notes acknowledged; want %d", errNotYet, c, n)
	}
	return nil
}

// TestHolds puts disks into wrong places. A server that cannot know holds, says why, and writes nothing to any disk.
func TestHolds(t *testing.T) {
	s := use(t, "vm")
	s.healthy(t, "left", "right")
	s.off(t, "left", "right")
	p1, p2 := s.serial(t, "left", 1), s.serial(t, "left", 2)
	s1, s2 := s.serial(t, "right", 1), s.serial(t, "right", 2)

	for _, tc := range []struct {
		name        string
		left, right []string
		prepare     func()
		restore     func()
		want        map[string]string // server: words its page must say; "" = secondary as usual
	}{
		{name: "halves", left: []string{p1}, right: []string{p2}, want: map[string]string{"left": "", "right": ""}},
		{name: "mixed and none", left: []string{p1, s2}, right: nil, want: map[string]string{"left": "", "right": ""}},
		{
			name: "foreign", left: []string{p1, p2}, right: nil, want: map[string]string{"left": "", "right": ""},
			prepare: func() { s.relabel(t, "left", "00000000-0000-4000-8000-00000000f0e1") },
			restore: func() { s.relabel(t, "left", "") },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.arrange(t, "left", tc.left)
			s.arrange(t, "right", tc.right)
			if tc.prepare != nil {
				tc.prepare()
			}
			before := map[string]string{}
			for server, disks := range map[string][]string{"left": tc.left, "right": tc.right} {
				for i, serial := range disks {
					before[serial] = s.diskHash(t, server, i+1)
				}
			}
			s.on(t, "left", "right")
			for server := range tc.want {
				s.wait(t, server, "holding")
				var state siteState
				address := map[string]string{"left": "10.7.0.11", "right": "10.7.0.12"}[server]
				eventually(t, server+"'s page says why", time.Minute, func() error { return s.api(t, address, &state) })
				for _, sv := range state.Servers {
					if sv.Name != server {
						continue
					}
					if len(sv.State.Reasons) == 0 || sv.State.Reasons[0].Text == "" || sv.State.Reasons[0].Next == "" {
						t.Errorf("%s holds without a reason and a next step: %+v", server, sv.State.Reasons)
					} else {
						t.Logf("%s says: %s %s", server, sv.State.Reasons[0].Text, sv.State.Reasons[0].Next)
					}
				}
			}
			s.off(t, "left", "right")
			for server, disks := range map[string][]string{"left": tc.left, "right": tc.right} {
				for i, serial := range disks {
					if got := s.diskHash(t, server, i+1); got != before[serial] {
						t.Errorf("disk %s was written to while %s was holding", serial, server)
					}
				}
			}
			if tc.restore != nil {
				tc.restore()
			}
		})
	}

	s.arrange(t, "left", []string{p1, p2})
	s.arrange(t, "right", []string{s1, s2})
	s.on(t, "left", "right")
	s.healthy(t, "left", "right")
}

// arrange puts exactly these disks into a server's bays from bay 1 on; the others go to the shelf.
func (s *site) arrange(t *testing.T, server string, serials []string) {
	t.Helper()
	for _, name := range []string{"left", "right"} {
		for bay := 1; bay <= 4; bay++ {
			if _, err := os.Stat(s.bay(name, bay)); err != nil {
				continue
			}
			here := s.serial(t, name, bay)
			wanted := false
			for i, w := range serials {
				wanted = wanted || (w == here && name == server && bay == i+1)
			}
			foreign := name != server && !slices.Contains(serials, here)
			if !wanted && !foreign {
				s.must(t, time.Minute, "bay", "pull", name, strconv.Itoa(bay))
			}
		}
	}
	for i, serial := range serials {
		if _, err := os.Stat(s.bay(server, i+1)); err != nil {
			s.must(t, time.Minute, "bay", "insert", server, strconv.Itoa(i+1), serial)
		}
	}
}

// relabel writes another site into the labels of a server's two disks, and what was there again when site is "".
func (s *site) relabel(t *testing.T, server, siteID string) {
	t.Helper()
	for bay := 1; bay <= 2; bay++ {
		f, err := os.OpenFile(filepath.Join(s.bay(server, bay), "disk.img"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		kept := filepath.Join(s.bay(server, bay), "label.kept")
		if siteID == "" {
			data, err := os.ReadFile(kept)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(data, layout.MiB); err != nil {
				t.Fatal(err)
			}
			os.Remove(kept)
			continue
		}
		data := make([]byte, layout.LabelSize)
		if _, err := f.ReadAt(data, layout.MiB); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(kept, data, 0o600); err != nil {
			t.Fatal(err)
		}
		l := s.label(t, server, bay)
		l.Site, l.SiteName = siteID, "Another office"
		if err := roles.WriteLabel(at{f, layout.MiB}, l); err != nil {
			t.Fatal(err)
		}
	}
}

// at is a file seen from an offset on.
type at struct {
	*os.File
	off int64
}

func (a at) ReadAt(p []byte, off int64) (int, error)  { return a.File.ReadAt(p, a.off+off) }
func (a at) WriteAt(p []byte, off int64) (int, error) { return a.File.WriteAt(p, a.off+off) }
