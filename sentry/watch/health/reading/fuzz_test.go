package reading

import (
	"bytes"
	"os"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzProc(f *testing.F) {
	for _, p := range []string{"proc/meminfo", "proc/loadavg", "proc/pressure/io", "proc/self/mountinfo"} {
		s, err := madeUp.text(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s, "cpu0 1 2")
	}
	f.Fuzz(func(t *testing.T, s, stat string) {
		if m, err := parseMemory(s); err == nil && (m.Available > m.Total || m.Total == 0 || m.SwapFree > m.SwapTotal) {
			t.Errorf("%+v", m)
		}
		if l, err := parseLoad(s, stat); err == nil && (l.CPUs == 0 || !(l.Fifteen >= 0)) {
			t.Errorf("%+v", l)
		}
		if some, full, err := parsePressure(s); err == nil && (!(some >= 0 && some <= 100) || !(full >= 0 && full <= 100)) {
			t.Errorf("%v %v", some, full)
		}
		for p, m := range parseMounts(s) {
			if p != m.Point || m.Type == "" {
				t.Errorf("%+v", m)
			}
		}
		if p, _, left := progress(s, uint64(len(stat))); p < 0 || p > 100 || left < 0 || left > maxLeft {
			t.Errorf("%d %%, %v left", p, left)
		}
	})
}

func FuzzKernel(f *testing.F) {
	f.Add("3,7,5000000,-;I/O error, dev sda, sector 1")
	f.Add("3,7,5000000,-;ata3.00: exception Emask 0x10")
	f.Add("3,7,5000000,c;Out of memory: Killed process 1 (\xff\x1b[31m)")
	list := patterns()
	f.Fuzz(func(t *testing.T, s string) {
		e, ok := parseKernel(list, s, time.Unix(0, 0))
		if ok && (e.Kind == "" || !utf8.ValidString(e.Text) || !utf8.ValidString(e.Subject) || len([]rune(e.Text)) > 201 || e.At.Before(time.Unix(0, 0))) {
			t.Errorf("%+v", e)
		}
	})
}

func FuzzSMART(f *testing.F) {
	for _, n := range []string{"good-ata.json", "failing-nvme.json", "sas.json", "asleep.json"} {
		data, err := os.ReadFile("../testdata/made-up-smart/" + n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSMART(b)
		if err == nil && (s.Temperature < 0 || s.Temperature > 125 || s.Wear < 0 || s.Wear > 1000 || s.Asleep && s.Failing) {
			t.Errorf("%+v", s)
		}
	})
}

func FuzzFAT(f *testing.F) {
	f.Add(fat(100, 5)[:4096])
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := fatSpace(bytes.NewReader(b)); err == nil && s.Free > s.Size {
			t.Errorf("%+v", s)
		}
	})
}

func FuzzCertificate(f *testing.F) {
	f.Add(madeUp.word("etc/ssl/atlas/site.crt"))
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := parseCertificate(s); err == nil && !utf8.ValidString(c.Name) {
			t.Errorf("%+v", c)
		}
	})
}
