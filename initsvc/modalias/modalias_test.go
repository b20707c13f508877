package modalias

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00", true},
		{"pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00008086d00001001sv00001AF4sd00000002bc01sc00i00", false},
		{"virtio:d00000002v*", "virtio:d00000002v00001AF4", true},
		{"virtio:d00000002v*", "virtio:d00000001v00001AF4", false},
		{"usb:v*p*d*dc*dsc*dp*ic03isc01ip01in*", "usb:v1D6Bp0002d0612dc09dsc00dp00ic03isc01ip01in00", true},
		{"cpu:type:x86,ven*fam*mod*:feature:*0099*", "cpu:type:x86,ven0000fam0006mod0055:feature:,0000,0099,00A0", true},
		{"input:b*v*p*e*-e*1,*k*14A,*", "input:b0011v0001p0001e0001-e0,1,k14A,r", true},
		{"of:N*T*Cfsl,[a-c]x", "of:NfooTbarCfsl,bx", true},
		{"of:N*T*Cfsl,[!a-c]x", "of:NfooTbarCfsl,bx", false},
		{"a[]]b", "a]b", true},
		{"a[b", "a[b", true},
		{`a\*b`, "a*b", true},
		{`a\*b`, "axb", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*", "", true},
		{"", "", true},
		{"", "x", false},
		{"a*", "a", true},
		{"*a*b*c", "xxaxxbxxc", true},
		{"*a*b*c", "xxaxxbxx", false},
	} {
		if got := Glob(tt.pattern, tt.s); got != tt.want {
			t.Errorf("Glob(%q, %q) = %v; want %v", tt.pattern, tt.s, got, tt.want)
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("pci:v*[0-9]?", "pci:v1")
	f.Add("[", "[")
	f.Add("[!", "x")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 200 || len(s) > 200 {
			t.Skip()
		}
		if Glob(pattern, s) && !Glob("*"+pattern, "x"+s) {
			t.Errorf("Glob(%q, %q) matches, with a star before it does not", pattern, s)
		}
	})
}

var index = fstest.MapFS{
	"modules.dep": {Data: []byte(`kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/lib/libcrc32c.ko:
kernel/crypto/crc32c_generic.ko:
kernel/fs/fat/fat.ko:
kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko
kernel/broken/needs-gone.ko: kernel/broken/gone.ko
`)},
	"modules.alias": {Data: []byte(`# Aliases
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias pci:v00001AF4d00001001sv*sd*bc*sc*i* built_driver
alias virtio:d00000002v* virtio_blk
alias fs-vfat vfat
alias *:weird needs-gone
broken line
`)},
	"modules.softdep": {Data: []byte("softdep virtio_blk pre: crc32c_generic missing_one post: libcrc32c\n")},
	"modules.builtin": {Data: []byte("kernel/drivers/built-driver.ko\n")},
}

func TestMatchAndResolve(t *testing.T) {
	x, err := OpenFS(index)
	if err != nil {
		t.Fatal(err)
	}
	for alias, want := range map[string][]string{
		"pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00": {"virtio_pci"},
		"virtio:d00000002v00001AF4":                             {"virtio_blk"},
		"fs-vfat":                                               {"vfat"},
		"virtio-pci":                                            {"virtio_pci"},
		"any:weird":                                             {"needs_gone"},
		"usb:v1":                                                {},
	} {
		if d := cmp.Diff(want, x.Match(alias)); d != "" {
			t.Errorf("Match(%q): %s", alias, d)
		}
	}
	got, err := x.Resolve("virtio-blk")
	if err != nil {
		t.Fatal(err)
	}
	want := []Module{
		{Name: "crc32c_generic", File: "kernel/crypto/crc32c_generic.ko", Soft: true},
		{Name: "virtio_ring", File: "kernel/drivers/virtio/virtio_ring.ko"},
		{Name: "virtio", File: "kernel/drivers/virtio/virtio.ko"},
		{Name: "virtio_blk", File: "kernel/drivers/block/virtio_blk.ko.xz"},
		{Name: "libcrc32c", File: "kernel/lib/libcrc32c.ko", Soft: true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Resolve: %s", d)
	}
	var nf *NotFoundError
	if _, err := x.Resolve("needs-gone"); !errors.As(err, &nf) || nf.Name != "gone" {
		t.Errorf("Resolve(needs-gone) error = %v; want NotFoundError for gone", err)
	}
	if mods, err := x.Resolve("built-driver"); err != nil || len(mods) != 0 {
		t.Errorf("Resolve(built-driver) = %v, %v; want nothing", mods, err)
	}
}

// fakeKernel makes new devices appear when drivers are loaded, as buses do.
type fakeKernel struct {
	sys    string
	loaded []string
	fail   map[string]bool
}

func (k *fakeKernel) Load(file string) error {
	name := NameOf(file)
	if k.fail[name] {
		return errors.New("no such device")
	}
	k.loaded = append(k.loaded, name)
	if name == "virtio_pci" {
		return device(k.sys, "pci0/virtio0", "virtio:d00000002v00001AF4")
	}
	return nil
}

func device(sys, path, modalias string) error {
	dir := filepath.Join(sys, path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "modalias"), []byte(modalias+"\n"), 0o644)
}

func TestPlug(t *testing.T) {
	x, err := OpenFS(index)
	if err != nil {
		t.Fatal(err)
	}
	sys := t.TempDir()
	if err := device(sys, "pci0", "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00"); err != nil {
		t.Fatal(err)
	}
	k := &fakeKernel{sys: sys, fail: map[string]bool{"crc32c_generic": true}}
	p := &Plug{Index: x, Loader: k, Sys: sys}
	want := []string{"virtio_ring", "virtio", "virtio_pci", "virtio_blk", "libcrc32c"}
	got, err := p.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Run: %s", d)
	}
	if d := cmp.Diff(want, k.loaded); d != "" {
		t.Errorf("loaded: %s", d)
	}
	if got, err := p.Run(context.Background()); err != nil || len(got) != 0 {
		t.Errorf("second Run = %v, %v; want nothing", got, err)
	}
	if _, ok := p.Failed()["crc32c_generic"]; !ok {
		t.Errorf("Failed() = %v; want crc32c_generic in it", p.Failed())
	}
	skip := &Plug{Index: x, Loader: &fakeKernel{sys: sys}, Sys: sys, Skip: []string{"virtio_b*"}}
	if got, _ := skip.Run(context.Background()); !cmp.Equal(got, []string{"virtio_ring", "virtio", "virtio_pci"}) {
		t.Errorf("Run with Skip = %v; want no virtio_blk", got)
	}
	if got, _ := skip.Load(context.Background(), "virtio_blk"); len(got) == 0 {
		t.Error("a module asked for by its own name must load although it is skipped")
	}
	if got, _ := p.Load(context.Background(), "vfat"); !cmp.Equal(got, []string{"fat", "vfat"}) {
		t.Errorf("Load(vfat) = %v; want fat, vfat", got)
	}
}
