package lab

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/build/lab/folder"
)

// made makes a namespace lab's folder with two servers that are off.
func made(t *testing.T) *Lab {
	t.Helper()
	l, err := Open(filepath.Join(t.TempDir(), "lab"))
	if err != nil {
		t.Fatal(err)
	}
	state := folder.Lab{Kind: folder.Namespace, Image: "atlas-1.img", DiskSize: 1 << 20, Admin: folder.Admin{User: "admin", Password: "secret"}}
	for i, n := range names()[:2] {
		state.Servers = append(state.Servers, folder.Server{Name: n, Address: "10.7.0.1" + string(rune('1'+i)), MAC: "52:54:00:00:00:0" + string(rune('1'+i))})
	}
	if err := l.Folder.Save(state); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"LAB-L1", "LAB-L2"} {
		if err := l.Folder.NewDisk(folder.Disk{Serial: s, Size: 1 << 20}, false); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Folder.Insert("left", int(s[5]-'0'), s); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func run(l *Lab, args ...string) (string, error) {
	var out bytes.Buffer
	err := Main(context.Background(), append(args, "--dir", l.Folder.Dir), &out, io.Discard)
	return out.String(), err
}

func TestVerbs(t *testing.T) {
	l := made(t)
	for _, args := range [][]string{
		{"bay", "pull", "left", "2"},
		{"bay", "insert", "right", "3", "LAB-L2"},
		{"bay", "insert", "right", "1"},
		{"swap", "left", "right"},
		{"bay", "insert", "right", "4", "new"},
		{"power", "off", "left"},
		{"wait", "left", "off"},
	} {
		if out, err := run(l, args...); err != nil {
			t.Fatalf("lab %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	out, err := run(l, "status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"left    off    off    -     no     10.7.0.11  -    1:LAB-N1 3:LAB-L2", "1:LAB-L1 4:LAB-N2", "password secret"} {
		if !strings.Contains(out, want) {
			t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
}

func TestStatusJSON(t *testing.T) {
	l := made(t)
	st, err := l.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := ServerStatus{
		Name: "left", Kind: "namespace", Power: "off", State: "off", Bays: []Bay{{1, "LAB-L1", 1 << 20}, {2, "LAB-L2", 1 << 20}, {Bay: 3}, {Bay: 4}},
		Addresses: Addresses{Management: "10.7.0.11", Service: "10.7.0.10", Dashboard: "https://10.7.0.11:8443/", MAC: "52:54:00:00:00:01"},
	}
	if diff := cmp.Diff(want, st.Servers[0]); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	out, err := run(l, "status", "--json")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{`"servers"`, `"name"`, `"kind"`, `"power"`, `"role"`, `"state"`, `"set"`, `"bays"`, `"addresses"`, `"admin"`} {
		if !strings.Contains(out, key) {
			t.Errorf("status --json lacks %s:\n%s", key, out)
		}
	}
}

func TestMistakes(t *testing.T) {
	l := made(t)
	empty, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		lab  *Lab
		args string
		want string
	}{
		{empty, "status", "lab up"},
		{empty, "down", "lab up"},
		{l, "power on top", `no server "top"`},
		{l, "power up left", "Say on, off, cut or reset"},
		{l, "bay insert left 1", "pull it first"},
		{l, "bay pull left 3", "is empty"},
		{l, "bay pull left x", "1 to 4"},
		{l, "bay pull left 9", "1 to 4"},
		{l, "disk error left 1", "--kind vm"},
		{l, "cable chop left", "Say cut or join"},
		{l, "wait left asleep", `cannot wait for "asleep"`},
		{l, "wait left primary", "is off"},
		{l, "exec left true", "two dashes"},
		{l, "client true", "two dashes"},
		{l, "console left", "is off"},
		{l, "snapshot load x", "Say save or restore"},
		{l, "snapshot restore none", "no snapshot"},
		{l, "up --image other.img", "remove it first"},
		{empty, "up --servers 4 --image x", "2 or 3"},
		{empty, "up --image x --disks 1", "2 to 4"},
	}
	for _, tt := range tests {
		out, err := run(tt.lab, strings.Fields(tt.args)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("lab %s: %v; want an error with %q\n%s", tt.args, err, tt.want, out)
		}
	}
}

func TestQuote(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"ls", "-l", "/etc"}, "ls -l /etc"},
		{[]string{"sh", "-c", "echo $HOME; exit 3"}, `sh -c 'echo $HOME; exit 3'`},
		{[]string{"echo", "", "it's"}, `echo '' 'it'\''s'`},
		{[]string{"echo", "~", "*", "a\nb"}, "echo '~' '*' 'a\nb'"},
	}
	for _, tt := range tests {
		if got := quote(tt.args); got != tt.want {
			t.Errorf("quote(%q) = %s; want %s", tt.args, got, tt.want)
		}
	}
}

func TestHealthIs(t *testing.T) {
	tests := []struct {
		h    Health
		want string // states that it is, in order of WaitStates
	}{
		{Health{State: "serving", Role: "primary", Ready: true}, "primary ready up"},
		{Health{State: "booting", Role: "primary"}, "up"}, // the role of a set that is not started yet is none
		{Health{State: "serving", Role: "secondary"}, "secondary up"},
		{Health{State: "holding"}, "holding up"},
	}
	for _, tt := range tests {
		var got []string
		for _, s := range WaitStates() {
			if tt.h.is(s) {
				got = append(got, s)
			}
		}
		if g := strings.Join(got, " "); g != tt.want {
			t.Errorf("%+v is %q; want %q", tt.h, g, tt.want)
		}
	}
}

func TestNewestImage(t *testing.T) {
	dir := t.TempDir()
	if got := NewestImage(dir); got != "" {
		t.Errorf("NewestImage of nothing = %q", got)
	}
	for i, n := range []string{"atlas-2.img", "atlas-1.img", "other.img"} {
		p := filepath.Join(dir, n)
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if got := NewestImage(dir); filepath.Base(got) != "atlas-1.img" {
		t.Errorf("NewestImage = %q; want the one made last", got)
	}
	if got := version("out/atlas-1.2.img"); got != "1.2" {
		t.Errorf("version = %q; want 1.2", got)
	}
}

func TestAttachPipe(t *testing.T) {
	here, there := net.Pipe()
	go func() {
		buf := make([]byte, 10)
		n, _ := there.Read(buf)
		_, _ = there.Write(bytes.ToUpper(buf[:n]))
	}()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.WriteString("help\x1dnot sent")
	var out bytes.Buffer
	started := time.Now()
	if err := attach(here, r, &out); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if time.Since(started) > 5*time.Second {
		t.Error("the detach key does not detach")
	}
	_ = here.Close()
}

func TestWantedPorts(t *testing.T) {
	got := wanted([]folder.Server{{Name: "left", Address: "10.7.0.11"}, {Name: "right", Address: "10.7.0.12"}})
	var lines []string
	for _, f := range got {
		lines = append(lines, f.Listen+" "+f.To)
	}
	want := []string{"127.0.0.1:8441 10.7.0.11:8443", "127.0.0.1:8442 10.7.0.12:8443", "127.0.0.1:8480 10.7.0.10:80"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("forwards (-want +got):\n%s", diff)
	}
}
