package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/esp"
	"sayasystems.com/atlas/image/install/systemdisk"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// bench is a server made of files: every disk is a file "hardware/<serial>" that tells what is on it.
type bench struct {
	t                     *testing.T
	dir                   string
	disks                 []Disk
	setMounted, stMounted bool
	joins                 int
	joinErr               error
	e                     Env
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), disks: testDisks()}
	for _, d := range []string{"hardware", "stick/EFI/BOOT", "stick/loader", "stick/atlas", "state", "set"} {
		if err := os.MkdirAll(filepath.Join(b.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{layout.BootLoader, layout.LoaderConf, "atlas/slot-a.efi", layout.ManifestFile} {
		b.put("stick/"+f, "content of "+f)
	}
	b.put("root.squashfs", "the root")
	for i, d := range b.disks {
		b.disks[i].Dev = filepath.Join(b.dir, "hardware", d.Serial)
		b.put("hardware/"+d.Serial, "")
	}
	b.e = Env{
		Version: "1.2", Root: filepath.Join(b.dir, "root.squashfs"), StateDir: filepath.Join(b.dir, "state"),
		StickDir: filepath.Join(b.dir, "stick"), ImageDir: "/image",
		Disks: b.found, CreateSet: b.create, StopSet: b.stop, Tree: b.tree,
		Network: func(context.Context, siteconf.Management) (netip.Prefix, error) {
			return netip.MustParsePrefix("10.7.0.12/24"), nil
		},
		NewKey: func(dir, id string) error {
			return os.WriteFile(filepath.Join(dir, siteconf.CertFile), []byte("cert of "+id), 0o600)
		},
		JoinCode: func(dir string) (string, error) {
			return "CODE", os.WriteFile(filepath.Join(dir, "join.json"), nil, 0o600)
		},
		Join:   b.join,
		System: b,
		hash:   func(string) (string, string, error) { return "$2a$bcrypt", "$6$rounds=50000$crypt", nil },
		Now:    func() time.Time { return time.Unix(1_800_000_000, 0) },
	}
	return b
}

func (b *bench) put(name, s string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(b.dir, name)), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(s), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) get(name string) string {
	s, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(s)
}

// found tells blank disks from others by their files.
func (b *bench) found(context.Context) ([]Disk, error) {
	out := slices.Clone(b.disks)
	for i, d := range out {
		s := b.get("hardware/" + d.Serial)
		out[i].Blank = s == ""
		out[i].Unfinished = strings.HasPrefix(s, "unfinished")
		out[i].Content = s
	}
	return out, nil
}

func (b *bench) create(ctx context.Context, s NewSet) error {
	if s.Label.Site == "" || s.Label.SiteName != "Miller" || s.Label.Server == "" || s.Label.Image != "1.2" || s.Label.Level != roles.RAID1 {
		return fmt.Errorf("label is not filled: %+v", s.Label)
	}
	if err := os.RemoveAll(filepath.Join(b.dir, "set")); err != nil {
		return err
	}
	b.setMounted = true
	if err := s.Fill(ctx, filepath.Join(b.dir, "set")); err != nil {
		return err
	}
	for _, d := range s.Disks {
		b.put("hardware/"+d.Serial, "labelled "+string(s.Label.Role))
	}
	return nil
}

func (b *bench) stop(context.Context) error { b.setMounted = false; return nil }

func (b *bench) tree(setDir, imageDir, version string) error {
	if imageDir != "/image" || version != "1.2" {
		return fmt.Errorf("tree of %s %s", imageDir, version)
	}
	rel, err := filepath.Rel(b.dir, setDir)
	if err != nil {
		return err
	}
	b.put(rel+"/etc/1.2/passwd", "root:x:0:0:root:/root:/bin/bash\n")
	b.put(rel+"/etc/1.2/shadow", "root:*:20000:0:99999:7:::\n")
	b.put(rel+"/etc/1.2/group", "root:x:0:\nsudo:x:27:\nusers:x:100:\n")
	b.put(rel+"/etc/1.2/skel/.profile", "hello\n")
	return os.MkdirAll(filepath.Join(setDir, "home"), 0o755)
}

func (b *bench) join(_ context.Context, address, code string, me JoinRequest) (JoinReply, error) {
	b.joins++
	if b.joinErr != nil {
		return JoinReply{}, b.joinErr
	}
	if address != "10.7.0.11" || code != "CODE" || me.Name != "right" || me.Address != "10.7.0.12" || me.Cert != "cert of "+me.ID {
		return JoinReply{}, fmt.Errorf("joined by %s %s %+v", address, code, me)
	}
	const id = "11111111-2222-4333-8444-555555555555"
	return JoinReply{
		Site: id, SiteName: "Miller",
		SiteYAML: "site: " + id + "\nname: Miller\nhostname: office\nservice: {address: 10.7.0.10/24, mac: \"02:a7:1a:01:02:03\"}\n",
		Admin:    "bcrypt", RootHash: "$6$root", AdminHash: "$6$admin", NTHash: "AB\n", Verify: "secret", Secret: "sitesecret",
		Peers: []siteconf.Peer{{ID: id, Name: "left", Address: "10.7.0.11", Cert: "PEM"}},
	}, nil
}

// The system disk: what Run did to it stands in its file.
func (b *bench) Prepare(_ context.Context, dev string, m systemdisk.Mark) (Parts, error) {
	if err := b.SetMark(dev, m); err != nil {
		return Parts{}, err
	}
	return Parts{ESP: "parts/esp", RootA: "parts/a", RootB: "parts/b", State: "parts/state"}, os.RemoveAll(filepath.Join(b.dir, "parts"))
}

func (b *bench) CopyRoot(_ context.Context, from, to string, copied, verified systemdisk.Progress) error {
	s, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	copied(int64(len(s)), int64(len(s)))
	verified(int64(len(s)), int64(len(s)))
	b.put(to, string(s))
	return nil
}

func (b *bench) MakeState(context.Context, string) error {
	return errors.Join(os.RemoveAll(filepath.Join(b.dir, "state")), os.Mkdir(filepath.Join(b.dir, "state"), 0o700))
}
func (b *bench) MountState(string, string) error { b.stMounted = true; return nil }
func (b *bench) UnmountState(string) error       { b.stMounted = false; return nil }

func (b *bench) WriteESP(_ context.Context, part string, files []esp.File) error {
	for _, f := range files {
		s, err := os.ReadFile(f.From)
		if err != nil {
			return err
		}
		b.put(filepath.Join(part, f.Path), string(s))
	}
	return nil
}

func (b *bench) SetMark(dev string, m systemdisk.Mark) error {
	return os.WriteFile(dev, []byte("unfinished "+m.Server), 0o600)
}
func (b *bench) ClearMark(dev string) error { return os.WriteFile(dev, []byte("installed"), 0o600) }

// verifyInstalled holds everything against what an installed left server must have.
func (b *bench) verifyInstalled() {
	t := b.t
	t.Helper()
	if b.setMounted || b.stMounted {
		t.Errorf("still mounted: set %v, state %v", b.setMounted, b.stMounted)
	}
	got := map[string]string{}
	for _, n := range []string{
		"hardware/SYS", "hardware/L1", "hardware/L2", "hardware/L3", "parts/a", "parts/esp/EFI/BOOT/BOOTX64.EFI",
		"parts/esp/EFI/Linux/atlas-1.2-a+3.efi", "set/etc/1.2/hostname", "set/etc/1.2/hosts", "set/etc/1.2/passwd", "set/etc/1.2/group",
	} {
		got[n] = b.get(n)
	}
	want := map[string]string{
		"hardware/SYS": "installed", "hardware/L1": "labelled primary", "hardware/L2": "labelled primary", "hardware/L3": "",
		"parts/a": "the root", "parts/esp/EFI/BOOT/BOOTX64.EFI": "content of EFI/BOOT/BOOTX64.EFI",
		"parts/esp/EFI/Linux/atlas-1.2-a+3.efi": "content of atlas/slot-a.efi",
		"set/etc/1.2/hostname":                  "office\n",
		"set/etc/1.2/hosts":                     "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.7.0.10\toffice.atlas.internal office\n",
		"set/etc/1.2/passwd":                    "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000:Administrator:/home/admin:/bin/bash\n",
		"set/etc/1.2/group":                     "root:x:0:\nsudo:x:27:admin\nusers:x:100:admin\nadmin:x:1000:\n",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("installed (-want +got):\n%s", d)
	}
	site, err := siteconf.LoadSite(filepath.Join(b.dir, "set/etc/1.2"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := siteconf.LoadServer(b.e.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	peers, err := siteconf.LoadPeers(b.e.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	join, err := LoadJoin(filepath.Join(b.e.StickDir, layout.JoinFile))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Join{Site: site.Site, Name: "Miller", Address: "10.7.0.11", Code: "CODE"}, join); d != "" {
		t.Errorf("join.yaml (-want +got):\n%s", d)
	}
	if peers.Site != site.Site || server.Name != "left" || b.get("state/"+siteconf.CertFile) != "cert of "+server.ID {
		t.Errorf("site %s, peers %s, server %+v do not belong together", site.Site, peers.Site, server)
	}
	if !strings.HasPrefix(site.Service.MAC, "02:a7:1a:") {
		t.Errorf("service MAC = %q", site.Service.MAC)
	}
	for _, n := range []string{"set/etc/1.2/" + VerifySecret, "set/etc/1.2/" + AdminNT, "state/" + RootHashFile, "state/" + siteconf.PeersFile} {
		st, err := os.Stat(filepath.Join(b.dir, n))
		if err != nil || st.Mode().Perm() != 0o600 || st.Size() < 20 {
			t.Errorf("%s: %v, %v; want a secret of mode 0600", n, st, err)
		}
	}
	st, err := os.Stat(filepath.Join(b.dir, "set/home/admin"))
	if err != nil || st.Mode().Perm() != 0o700 || b.get("set/home/admin/.profile") != "hello\n" {
		t.Errorf("administrator's home: %v, %v", st, err)
	}
}

// hash sums every file of the bench.
func (b *bench) hash() map[string]string {
	out := map[string]string{}
	err := filepath.WalkDir(b.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		s, err := os.ReadFile(p)
		sum := sha256.Sum256(s)
		out[p] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}
