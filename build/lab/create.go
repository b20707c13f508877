package lab

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/vm"
	"sayasystems.com/atlas/build/toolsroot"
)

// create makes the folder and the servers' parts.
func (l *Lab) create(ctx context.Context, o Options, p *progress) error {
	if o.Servers == 0 {
		o.Servers = 2
	}
	if o.Servers < 2 || o.Servers > len(names()) {
		return fmt.Errorf("a lab has 2 or 3 servers, not %d", o.Servers)
	}
	if o.Disks == 0 {
		o.Disks = 2
	}
	if o.Disks < 2 || o.Disks > folder.Bays {
		return fmt.Errorf("a set has 2 to %d disks here, not %d", folder.Bays, o.Disks)
	}
	if o.DiskSize == 0 {
		o.DiskSize = 1 << 30
	}
	if o.Image == "" {
		o.Image = NewestImage("out")
	}
	if o.Image == "" {
		return errors.New("which image? Say --image out/atlas-VERSION.img (made by: build image)")
	}
	if os.Geteuid() != 0 {
		return errors.New("the lab needs root, for network namespaces and taps: run it as root")
	}
	state := folder.Lab{
		Image: filepath.Base(o.Image), Version: version(o.Image), DiskSize: o.DiskSize, MemoryMiB: o.MemoryMiB, CPUs: o.CPUs, Services: o.Services,
		Admin: folder.Admin{User: "admin", Password: "lab-" + random(5)},
	}
	if state.MemoryMiB == 0 {
		state.MemoryMiB = 1024
	}
	if err := l.Folder.Begin(); err != nil {
		return err
	}
	if err := p.step("copy image", func() error { return folder.Copy(ctx, o.Image, l.Folder.Image(state)) }); err != nil {
		return err
	}
	if err := l.choose(ctx, o, &state, p); err != nil {
		return err
	}
	for n, file := range o.Others {
		if !slices.Contains(names()[:o.Servers], n) {
			return fmt.Errorf("--other-image names %s; the servers are %s", n, strings.Join(names()[:o.Servers], ", "))
		}
		if filepath.Base(file) == state.Image {
			return fmt.Errorf("the image of %s has the same file name as the lab's, %s", n, state.Image)
		}
		if err := p.step("copy image of "+n, func() error {
			return folder.Copy(ctx, file, l.Folder.Image(folder.Lab{Image: filepath.Base(file)}))
		}); err != nil {
			return err
		}
	}
	for i, n := range names()[:o.Servers] {
		id := random(16)
		state.Servers = append(state.Servers, folder.Server{
			Name: n, Address: fmt.Sprintf("10.7.0.%d", 11+i), MAC: "52:54:00:" + id[0:2] + ":" + id[2:4] + ":" + id[4:6],
			UUID:   strings.Join([]string{id[0:8], id[8:12], "4" + id[13:16], "8" + id[17:20], id[20:32]}, "-"),
			Serial: "LAB-" + strings.ToUpper(n),
		})
		if other := o.Others[n]; other != "" {
			state.Servers[i].Image, state.Servers[i].Version = filepath.Base(other), version(other)
		}
	}
	if err := l.makeKey(); err != nil {
		return err
	}
	return p.step("make servers", func() error {
		for i, s := range state.Servers {
			srv, err := l.server(ctx, state, s)
			if err != nil {
				return err
			}
			if err := srv.Create(ctx); err != nil {
				return err
			}
			for bay := 1; bay <= o.Disks && i < 2; bay++ {
				serial := fmt.Sprintf("LAB-%s%d", strings.ToUpper(s.Name[:1]), bay)
				if err := l.Folder.NewDisk(folder.Disk{Serial: serial, Model: diskModel, Size: o.DiskSize}, state.Kind == folder.VM); err != nil {
					return err
				}
				if _, err := l.Folder.Insert(s.Name, bay, serial); err != nil {
					return err
				}
			}
		}
		return l.Folder.Finish(state)
	})
}

// choose settles kind and acceleration.
func (l *Lab) choose(ctx context.Context, o Options, state *folder.Lab, p *progress) error {
	switch o.Kind {
	case folder.Namespace:
		state.Kind = folder.Namespace
		return nil
	case "", folder.VM, "auto":
	default:
		return fmt.Errorf("no kind of server %q; say vm, namespace or auto", o.Kind)
	}
	tools, err := toolsroot.Ensure(ctx, p.say)
	if err != nil {
		return err
	}
	dir, err := cache.Dir()
	if err != nil {
		return err
	}
	state.Kind = folder.VM
	if err := p.step("try KVM", func() error {
		var why string
		state.KVM, why = vm.ProbeKVM(ctx, vm.Probe{Tools: tools.Path, Image: l.Folder.Image(*state), Scratch: filepath.Join(l.Folder.Dir, "tmp"), Cache: dir})
		p.say(why)
		return ctx.Err()
	}); err != nil {
		return err
	}
	if o.Kind == "auto" && !state.KVM {
		state.Kind = folder.Namespace
	}
	if state.CPUs == 0 {
		state.CPUs = 1
		if state.KVM {
			state.CPUs = 2
		}
	}
	return nil
}

// makeKey makes the key with which the lab logs in to its servers.
func (l *Lab) makeKey() error {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make the lab's key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "lab")
	if err != nil {
		return fmt.Errorf("make the lab's key: %w", err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return fmt.Errorf("make the lab's key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(l.Folder.Key()), 0o700); err != nil {
		return fmt.Errorf("make the lab's key: %w", err)
	}
	if err := os.WriteFile(l.Folder.Key(), pem.EncodeToMemory(block), 0o600); err != nil {
		return fmt.Errorf("make the lab's key: %w", err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPub))) + " lab\n"
	if err := os.WriteFile(l.Folder.Key()+".pub", []byte(line), 0o644); err != nil {
		return fmt.Errorf("make the lab's key: %w", err)
	}
	return nil
}

// version is the image's, from its file name atlas-VERSION.img.
func version(image string) string {
	v := strings.TrimSuffix(filepath.Base(image), filepath.Ext(image))
	return strings.TrimPrefix(v, "atlas-")
}

func random(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
