package pid1

import "testing"

func TestProgramPages(t *testing.T) {
	const exe = "/usr/lib/atlas/init"
	for line, want := range map[string]bool{
		"00400000-00a5f000 r-xp 00000000 fe:02 1234 /usr/lib/atlas/init":  true,
		"00a5f000-01100000 r--p 0065f000 fe:02 1234 /usr/lib/atlas/init":  true,
		"01100000-01170000 rw-p 00d00000 fe:02 1234 /usr/lib/atlas/init":  false,
		"c000000000-c000400000 rw-p 00000000 00:00 0 ":                    false,
		"7f0000000000-7f0000001000 r-xp 00000000 00:00 0 [vdso]":          false,
		"00a5f000-00400000 r-xp 00000000 fe:02 1234 /usr/lib/atlas/init":  false,
		"00400000-00a5f000 r-xp 00000000 fe:02 1234 /usr/lib/atlas/atlas": false,
		"": false,
	} {
		if _, _, ok := programPages(line, exe); ok != want {
			t.Errorf("%q: %v; want %v", line, ok, want)
		}
	}
	if from, to, _ := programPages("00400000-00a5f000 r-xp 00000000 fe:02 1234 "+exe, exe); from != 0x400000 || to != 0xa5f000 {
		t.Errorf("range %x-%x", from, to)
	}
}

// TestDropProgram: the program works on after its pages were given back.
func TestDropProgram(t *testing.T) {
	if err := dropProgram(); err != nil {
		t.Fatal(err)
	}
}
