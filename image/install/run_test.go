package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// asRoot skips a test that gives files away where the user cannot.
func asRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("gives files to other users: needs root")
	}
}

func TestRunFounds(t *testing.T) {
	asRoot(t)
	b := newBench(t)
	b.e.hash = nil // the real ones, once
	sum, err := Run(t.Context(), b.e, testAnswers())
	if err != nil {
		t.Fatal(err)
	}
	b.verifyInstalled()
	if sum.JoinCode != "CODE" || !sum.JoinOnFile || sum.Management != "10.7.0.11" || len(sum.Did) < 6 {
		t.Errorf("summary = %+v", sum)
	}
}

// TestRunInterrupted fails after every step in turn, by an error and by the end of the context, and then runs again.
func TestRunInterrupted(t *testing.T) {
	asRoot(t)
	var steps []string
	b := newBench(t)
	b.e.after = func(s string) error { steps = append(steps, s); return nil }
	if _, err := Run(t.Context(), b.e, testAnswers()); err != nil {
		t.Fatal(err)
	}
	if len(steps) < 8 {
		t.Fatalf("only steps %q", steps)
	}
	for _, step := range steps {
		for _, how := range []string{"error", "context", "twice"} {
			t.Run(step+" "+how, func(t *testing.T) {
				b := newBench(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				b.e.after = func(s string) error {
					switch {
					case s != step:
						return nil
					case how == "context" && s != steps[len(steps)-1]:
						cancel()
						return nil
					}
					return errors.New("power cut")
				}
				a := testAnswers()
				attempts := 1
				if how == "twice" {
					attempts = 2
				}
				for range attempts {
					if _, err := Run(ctx, b.e, a); err == nil {
						t.Fatal("Run succeeded")
					}
					if b.setMounted || b.stMounted {
						t.Fatalf("left mounted: set %v, state %v", b.setMounted, b.stMounted)
					}
					if step != "finish" && b.get("hardware/SYS") == "installed" {
						t.Fatal("counts as installed")
					}
					// What is half-written must not be taken without being allowed.
					a.SystemDisk.Erase = true
					for i := range a.Set.Disks {
						a.Set.Disks[i].Erase = true
					}
				}
				if step != "check" {
					if _, err := Run(t.Context(), b.e, testAnswers()); !errors.As(err, &Problems{}) {
						t.Errorf("second run without erase = %v; want Problems", err)
					}
				}
				b.e.after = nil
				if _, err := Run(t.Context(), b.e, a); err != nil {
					t.Fatal(err)
				}
				b.verifyInstalled()
			})
		}
	}
}

func joinAnswers() Answers {
	a := testAnswers()
	a.Server, a.New, a.Password = "right", nil, ""
	a.Set.Role = roles.Secondary
	a.Management.Address = "dhcp"
	a.Join = &JoinSite{File: true}
	return a
}

func TestRunJoins(t *testing.T) {
	asRoot(t)
	b := newBench(t)
	b.put("stick/join.yaml", "site: x\nname: Miller\naddress: 10.7.0.11\ncode: CODE\n")
	a := joinAnswers()
	sum, err := Run(t.Context(), b.e, a)
	if err != nil {
		t.Fatal(err)
	}
	if b.joins != 1 || sum.JoinCode != "" || sum.Management != "10.7.0.12" {
		t.Errorf("joins %d, summary %+v", b.joins, sum)
	}
	if exists(b.e.StickDir, layout.JoinFile) {
		t.Error("join.yaml is still on the stick")
	}
	peers, err := siteconf.LoadPeers(b.e.StateDir)
	if err != nil || len(peers.Peers) != 1 || peers.Peers[0].Name != "left" || peers.Admin != "bcrypt" {
		t.Errorf("peers = %+v, %v", peers, err)
	}
	if got, want := b.get("set/etc/1.2/"+VerifySecret), "secret\n"; got != want {
		t.Errorf("verify.secret = %q; want %q", got, want)
	}
	if got, want := b.get("set/etc/1.2/"+SiteSecret), "sitesecret\n"; got != want {
		t.Errorf("site.secret = %q; want %q", got, want)
	}
	if got := b.get("set/etc/1.2/shadow"); !strings.Contains(got, "root:$6$root:") || !strings.Contains(got, "admin:$6$admin:") {
		t.Errorf("shadow = %q", got)
	}
	if site, err := siteconf.LoadSite(filepath.Join(b.dir, "set/etc/1.2")); err != nil || site.Service.MAC != "02:a7:1a:01:02:03" {
		t.Errorf("site = %+v, %v", site, err)
	}
}

func TestRunJoinWithoutSet(t *testing.T) {
	b := newBench(t)
	a := joinAnswers()
	a.Set = SetChoice{}
	a.Join = &JoinSite{Address: "10.7.0.11", Code: "CODE"}
	if _, err := Run(t.Context(), b.e, a); err != nil {
		t.Fatal(err)
	}
	if got := b.get("hardware/L1"); got != "" {
		t.Errorf("disk L1 = %q; want untouched", got)
	}
	if got := b.get("state/" + RootHashFile); got != "$6$root\n" {
		t.Errorf("%s = %q", RootHashFile, got)
	}
}

func TestJoinPatience(t *testing.T) {
	b := newBench(t)
	a := joinAnswers()
	a.Join = &JoinSite{Address: "10.7.0.11", Code: "CODE"}
	b.e.Patience = time.Hour
	b.joinErr = fmt.Errorf("%w: wrong code", ErrRefused)
	if _, err := Run(t.Context(), b.e, a); !errors.Is(err, ErrRefused) || b.joins != 1 {
		t.Errorf("Run = %v after %d requests; want refused after one", err, b.joins)
	}
	b.joinErr = errors.New("connection refused")
	a.SystemDisk.Erase = true
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, b.e, a); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run = %v; want the deadline", err)
	}
}

// TestRunNeverWrites: when a check fails, nothing anywhere has changed.
func TestRunNeverWrites(t *testing.T) {
	for name, spoil := range map[string]func(*bench, *Answers){
		"not empty":     func(b *bench, _ *Answers) { b.put("hardware/L2", "ext4 filesystem") },
		"system in use": func(b *bench, _ *Answers) { b.put("hardware/SYS", "NTFS filesystem") },
		"twice":         func(_ *bench, a *Answers) { a.Set.Disks[1] = a.Set.Disks[0] },
		"small":         func(b *bench, _ *Answers) { b.disks[0].Size = 1000 },
		"stick":         func(b *bench, _ *Answers) { b.disks[1].Stick = true },
		"gone":          func(_ *bench, a *Answers) { a.Set.Disks[1].Bay = 8 },
		"level":         func(_ *bench, a *Answers) { a.Set.Level = roles.RAID5 },
		"stick damaged": func(b *bench, _ *Answers) { os.Remove(filepath.Join(b.dir, "stick/atlas/slot-a.efi")) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			a := testAnswers()
			spoil(b, &a)
			before := b.hash()
			if _, err := Run(t.Context(), b.e, a); err == nil {
				t.Fatal("Run succeeded")
			}
			if d := cmp.Diff(before, b.hash()); d != "" {
				t.Errorf("written although a check failed (-before +after):\n%s", d)
			}
		})
	}
}

func TestRunWithoutSystemDisk(t *testing.T) {
	asRoot(t)
	b := newBench(t)
	b.e.NoSystemDisk = true
	a := testAnswers()
	a.SystemDisk = DiskChoice{}
	b.put("state/leftover", "x")
	b.e.after = func(s string) error {
		if s == "server" {
			return errors.New("cut")
		}
		return nil
	}
	if _, err := Run(t.Context(), b.e, a); err == nil {
		t.Fatal("Run succeeded")
	}
	if m, ok := ReadMark(b.e.StateDir); !ok || m.Server != "left" || m.Site == "" {
		t.Errorf("mark = %+v, %v", m, ok)
	}
	for i := range a.Set.Disks {
		a.Set.Disks[i].Erase = true
	}
	b.e.after = nil
	if _, err := Run(t.Context(), b.e, a); err != nil {
		t.Fatal(err)
	}
	if exists(b.e.StateDir, "leftover") || exists(b.e.StateDir, unfinishedFile) {
		t.Error("state directory was not cleared")
	}
	if _, err := siteconf.LoadServer(b.e.StateDir); err != nil {
		t.Error(err)
	}
	// It is a server now.
	before := b.hash()
	if _, err := Run(t.Context(), b.e, a); !errors.As(err, &Problems{}) {
		t.Errorf("Run on an installed server = %v; want Problems", err)
	}
	if d := cmp.Diff(before, b.hash()); d != "" {
		t.Errorf("written although refused:\n%s", d)
	}
}
