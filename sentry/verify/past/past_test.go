package past

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/verify"
)

var (
	day  = time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	page = Series{"left", "right", "web", "page"}
	mail = Series{"left", "right", "mail", "message"}
)

type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func open(t *testing.T, dir string, c *clock) *Store {
	t.Helper()
	s, err := Open(dir, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, s *Store, all bool) {
	t.Helper()
	if err := s.Write(all); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s *Store, step time.Duration) []Line {
	t.Helper()
	lines, err := s.Read(day, day.Add(100*24*time.Hour), step, nil)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// runs counts what lines hold.
func runs(lines []Line) map[Series]int {
	n := map[Series]int{}
	for _, l := range lines {
		for _, s := range l.Spans {
			n[l.Series] += s.Runs
		}
	}
	return n
}

func TestGraph(t *testing.T) {
	c := &clock{day}
	dir := t.TempDir()
	s := open(t, dir, c)
	// Two hours of a run every half minute; in the second hour every tenth fails, and mail is slow.
	for ; c.Before(day.Add(2 * time.Hour)); c.Time = c.Add(30 * time.Second) {
		status := verify.Pass
		if c.Hour() == 1 && int(c.Sub(day)/(30*time.Second))%10 == 0 {
			status = verify.Fail
		}
		s.Add(page, c.Time, status, 2*time.Millisecond)
		slow := 40 * time.Millisecond
		if c.Second() == 30 && c.Minute() >= 54 {
			slow = time.Second
		}
		s.Add(mail, c.Time, verify.Warn, slow)
		write(t, s, false)
	}
	want := func(when string, s *Store) {
		t.Helper()
		lines := read(t, s, time.Hour)
		if len(lines) != 2 || lines[0].Series != mail || lines[1].Series != page || len(lines[1].Spans) != 2 {
			t.Fatalf("%s: %+v; want two lines of two hours", when, lines)
		}
		p, m := lines[1].Spans, lines[0].Spans
		if p[0].Runs != 120 || p[0].Failed != 0 || *p[0].Availability != 1 || p[1].Runs != 120 || p[1].Failed != 12 || *p[1].Availability != 0.9 {
			t.Errorf("%s: page %+v", when, p)
		}
		if !near(p[0].P50, 2*time.Millisecond) || !near(p[0].P95, 2*time.Millisecond) || !near(m[0].P50, 40*time.Millisecond) || !near(m[0].P95, 40*time.Millisecond) {
			t.Errorf("%s: times %v %v %v %v", when, p[0].P50, p[0].P95, m[0].P50, m[0].P95)
		}
	}
	want("hours from minutes", s)
	c.Time = day.Add(2*time.Hour + 3*time.Minute)
	s.Add(page, c.Add(-time.Minute), verify.Unknown, 0)
	write(t, s, false)
	if n := files(t, dir, "h-"); n != 1 {
		t.Fatalf("%d segments of hours; want 1", n)
	}
	lines, err := s.Read(day, day.Add(2*time.Hour), time.Hour, nil)
	if err != nil || len(lines) != 2 || lines[1].Spans[1].Failed != 12 {
		t.Errorf("hours summed up: %+v, %v", lines, err)
	}
	minutes, err := s.Read(day.Add(time.Hour), day.Add(time.Hour+10*time.Minute), time.Minute, func(r Series) bool { return r == page })
	if err != nil || len(minutes) != 1 || len(minutes[0].Spans) != 10 || minutes[0].Spans[0].Runs != 2 || *minutes[0].Spans[0].Availability != 0.5 {
		t.Errorf("ten minutes: %+v, %v", minutes, err)
	}
	// Another process goes on, and sums nothing up twice.
	s = open(t, dir, c)
	write(t, s, false)
	write(t, s, true)
	if got := runs(read(t, s, time.Hour)); got[page] != 241 || got[mail] != 240 {
		t.Errorf("after another start: %v", got)
	}
	if l := read(t, s, time.Hour)[1].Spans; l[2].Availability != nil || l[2].Unknown != 1 || l[2].P50 != 0 {
		t.Errorf("an hour of which nothing is known: %+v", l[2])
	}
}

func near(got, want time.Duration) bool {
	return float64(got) > 0.95*float64(want) && float64(got) < 1.05*float64(want)
}

func files(t *testing.T, dir, kind string) int {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, kind+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestPowerCut cuts a segment at every byte: what was whole before the cut is there, nothing else is, and writing goes on.
func TestPowerCut(t *testing.T) {
	c := &clock{day}
	dir := t.TempDir()
	s := open(t, dir, c)
	var ends []int // of the segment after each write
	path := filepath.Join(dir, "m-20260304.seg")
	for i := range 4 {
		c.Time = day.Add(time.Duration(i) * time.Minute)
		s.Add(page, c.Time, verify.Pass, time.Millisecond)
		if i > 1 {
			s.Add(mail, c.Time, verify.Fail, time.Second)
		}
		write(t, s, true)
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(st.Size()))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(data) + 1 {
		for _, tail := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", string(data[:20])} { // blocks that were never written, or are another file's
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "m-20260304.seg"), append(data[:cut:cut], tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			want := map[Series]int{}
			for i, end := range ends {
				if cut >= end {
					want[page]++
					if i > 1 {
						want[mail]++
					}
				}
			}
			s := open(t, dir, c)
			if got := runs(read(t, s, time.Minute)); !cmp.Equal(got, want) {
				t.Fatalf("cut at %d: %v; want %v", cut, got, want)
			}
			c.Time = day.Add(10 * time.Minute)
			s.Add(mail, c.Time, verify.Pass, time.Millisecond)
			write(t, s, true)
			want[mail]++
			if got := runs(read(t, open(t, dir, c), time.Minute)); !cmp.Equal(got, want) {
				t.Fatalf("cut at %d, and gone on: %v; want %v", cut, got, want)
			}
		}
	}
	// Damage in the middle loses what it is in, and no more; nothing is made up.
	for at := range data {
		dir := t.TempDir()
		bad := append([]byte(nil), data...)
		bad[at] ^= 0x55
		if err := os.WriteFile(filepath.Join(dir, "m-20260304.seg"), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		got := runs(read(t, open(t, dir, c), time.Minute))
		if got[page] > 4 || got[mail] > 2 || len(got) > 2 {
			t.Fatalf("damage at %d: %v; more than was written", at, got)
		}
		if at > ends[0] && at < ends[1] && (got[page] != 3 || got[mail] != 2) {
			t.Fatalf("damage at %d, in the second of four: %v; want the other three", at, got)
		}
	}
}

func TestBounds(t *testing.T) {
	c := &clock{day}
	dir := t.TempDir()
	s := open(t, dir, c)
	for i := range 100 * 24 { // 100 days by the hour
		c.Time = day.Add(time.Duration(i) * time.Hour)
		s.Add(page, c.Time, verify.Pass, time.Millisecond)
		write(t, s, true)
	}
	c.Time = c.Add(time.Hour)
	s.Add(page, c.Time, verify.Pass, time.Millisecond)
	write(t, s, true)
	if m, h := files(t, dir, "m-"), files(t, dir, "h-"); m < 3 || m > 5 || h < 90 || h > 92 {
		t.Errorf("%d days of minutes, %d of hours; want 3 and 90", m, h)
	}
	if got := runs(read(t, s, time.Hour))[page]; got < 90*24 || got > 92*24 {
		t.Errorf("%d hours; want 90 days of them", got)
	}
	s.max = 40000
	for i := range 300 {
		s.Add(Series{"left", "right", "web", fmt.Sprint("page-", i)}, c.Time, verify.Pass, time.Millisecond)
	}
	write(t, s, true)
	var total int64
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		st, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += st.Size()
	}
	if m := files(t, dir, "m-"); total > s.max || m != 1 {
		t.Errorf("%d bytes and %d days of minutes; want at most %d, and the newest", total, m, s.max)
	}
}

// TestDay is how large a day of a large site is; the bound in the package comment comes from it.
func TestDay(t *testing.T) {
	c := &clock{day}
	dir := t.TempDir()
	s := open(t, dir, c)
	for ; c.Before(day.Add(2 * time.Hour)); c.Time = c.Add(time.Minute) {
		for i := range 180 {
			r := Series{"left", "right", "service", fmt.Sprint("probe-", i)}
			for k := range 2 {
				s.Add(r, c.Time, verify.Pass, time.Duration(2+(c.Minute()*7+k*3+i)%9)*time.Millisecond)
			}
		}
	}
	c.Time = day.Add(3 * time.Hour)
	write(t, s, true)
	size := func(name string) int64 {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	m, h := 12*size("m-20260304.seg"), 12*size("h-20260304.seg")
	t.Logf("a day: minutes %d KB, hours %d KB", m>>10, h>>10)
	// One hour of the two was thrown away: only maxWaiting minutes wait.
	if total := 2*m*4 + 2*h*90; total > MaxBytes {
		t.Errorf("%d MB with 180 series; want less than %d", total>>20, MaxBytes>>20)
	}
}

func TestDiskFull(t *testing.T) {
	c := &clock{day}
	dir := filepath.Join(t.TempDir(), "past")
	s := open(t, dir, c)
	s.Add(page, day, verify.Pass, time.Millisecond)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	c.Time = day.Add(time.Minute)
	if err := s.Write(false); err == nil {
		t.Error("written without a directory")
	}
	for i := range 200 { // memory is bounded meanwhile
		s.Add(page, day.Add(time.Duration(i)*time.Minute), verify.Pass, time.Millisecond)
	}
	if n := len(s.waiting); n > maxWaiting {
		t.Errorf("%d minutes wait; want at most %d", n, maxWaiting)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, s, true)
	if n := runs(read(t, s, time.Minute))[page]; n != maxWaiting {
		t.Errorf("%d runs; want those of %d minutes", n, maxWaiting)
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan bool)
	go func() { s.Run(ctx, slog.New(slog.DiscardHandler)); close(done) }()
	s.Add(Of(verify.Result{Observer: "left", Target: "right", Service: "web", Probe: "page"}), time.Now(), verify.Pass, time.Millisecond)
	cancel()
	<-done
	data, err := os.ReadFile(filepath.Join(dir, "m-"+time.Now().UTC().Format("20060102")+suffix))
	if err != nil || !strings.Contains(string(data), "page") {
		t.Errorf("segment %q, %v; want the minute under way", data, err)
	}
}

func FuzzSegment(f *testing.F) {
	var s sum
	s.times = map[uint64]uint64{3: 4, 90: 1}
	f.Add(frame(frame(nil, kindName, nameBody(7, page)), kindBatch, s.append([]byte{1, 1, 7})))
	f.Add(frame(nil, kindBatch, []byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f}))
	f.Add([]byte(mark + mark))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s segment
		s.read(data, func(b batch) {
			for _, x := range b.sums {
				_ = x.span(b.start)
			}
		})
		if s.end > len(data) {
			t.Errorf("ends at %d of %d", s.end, len(data))
		}
	})
}
