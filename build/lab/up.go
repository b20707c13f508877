package lab

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/stick"
	"sayasystems.com/atlas/build/lab/vm"
	"sayasystems.com/atlas/build/toolsroot"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/sentry/initapi"
)

// Options of Up. Zero values mean the defaults.
type Options struct {
	Kind      string // folder.VM (default), folder.Namespace, or "auto": vm where KVM works, else namespace
	Servers   int    // 2 (default) or 3
	Image     string // atlas-VERSION.img; the newest in ./out
	Disks     int    // in each set; 2
	DiskSize  int64  // bytes; 2 GiB
	MemoryMiB int    // 1024
	CPUs      int    // of a virtual machine
	Blank     bool   // make the servers, but install nothing and leave them off
	Keep      bool   // leave everything running when something fails
	Progress  io.Writer
}

const diskModel = "Lab disk"

// servers of a lab, by position on the rack.
func names() []string { return []string{"left", "right", "middle"} }

// Up makes the lab, installs its servers from the image one after the other, and boots them; or, where there is a lab already,
// finishes that and switches its servers on.
func (l *Lab) Up(ctx context.Context, o Options) (err error) {
	p := newProgress(o.Progress)
	state, err := l.Folder.Load()
	if errors.Is(err, folder.ErrNoLab) {
		if err := l.create(ctx, o, p); err != nil {
			return err
		}
		state, err = l.Folder.Load()
	} else if err == nil && o.Image != "" && filepath.Base(o.Image) != state.Image {
		return fmt.Errorf("the lab in %s was made from %s; remove it first: lab down --dir %s", l.Folder.Dir, state.Image, l.Folder.Dir)
	}
	if err != nil {
		return err
	}
	if err := p.step("network", l.Office.Up); err != nil {
		return err
	}
	if o.Blank {
		return nil
	}
	defer func() {
		if err != nil && !o.Keep {
			err = errors.Join(err, l.each(context.WithoutCancel(ctx), func(s Server, _ folder.Server) error { return s.Cut(context.WithoutCancel(ctx)) }))
		}
	}()
	for i, s := range state.Servers {
		if !s.Installed {
			if err := p.step("install "+s.Name, func() error { return l.Install(ctx, s.Name) }); err != nil {
				return err
			}
		}
		if err := p.step("boot "+s.Name, func() error {
			if err := l.PowerOn(ctx, s.Name, ""); err != nil {
				return err
			}
			return l.waitBoot(ctx, state, i)
		}); err != nil {
			return err
		}
	}
	return p.step("forward ports", func() error { return l.Forward(ctx) })
}

// waitBoot waits for what a freshly switched on server becomes: the first ones have sets, a third has none and holds. After a
// swap the roles have changed places, so any role is good.
func (l *Lab) waitBoot(ctx context.Context, state folder.Lab, i int) error {
	limit := 15 * time.Minute
	if state.Kind == folder.Namespace {
		limit = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := state.Servers[i]
	if err := l.WaitFor(ctx, s.Name, "up"); err != nil {
		return l.withConsole(s.Name, err)
	}
	for {
		h, err := l.Health(ctx, s)
		if err == nil && (h.Ready || h.State == initapi.Holding) {
			disks, derr := l.Folder.Disks(s.Name)
			if derr != nil {
				return derr
			}
			if h.State == initapi.Holding && len(disks) > 0 {
				return l.withConsole(s.Name, fmt.Errorf("%s holds: it starts no disk set; its page or console says why", s.Name))
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return l.withConsole(s.Name, fmt.Errorf("%s has booted, but is not ready in time", s.Name))
		case <-time.After(500 * time.Millisecond):
		}
	}
}

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
		o.DiskSize = 2 << 30
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
		Image: filepath.Base(o.Image), Version: version(o.Image), DiskSize: o.DiskSize, MemoryMiB: o.MemoryMiB, CPUs: o.CPUs,
		Admin: folder.Admin{User: "admin", Password: "lab-" + random(5)},
	}
	if state.MemoryMiB == 0 {
		state.MemoryMiB = 1024
	}
	if err := p.step("copy image", func() error { return folder.Copy(ctx, o.Image, l.Folder.Image(state)) }); err != nil {
		return err
	}
	if err := l.choose(ctx, o, &state, p); err != nil {
		return err
	}
	for i, n := range names()[:o.Servers] {
		id := random(16)
		state.Servers = append(state.Servers, folder.Server{
			Name: n, Address: fmt.Sprintf("10.7.0.%d", 11+i), MAC: "52:54:00:" + id[0:2] + ":" + id[2:4] + ":" + id[4:6],
			UUID:   strings.Join([]string{id[0:8], id[8:12], "4" + id[13:16], "8" + id[17:20], id[20:32]}, "-"),
			Serial: "LAB-" + strings.ToUpper(n),
		})
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
		return l.Folder.Save(state) // last: from now on it is a lab
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

// Install installs a server from the stick, unattended, and returns when the server has switched itself off.
func (l *Lab) Install(ctx context.Context, name string) error {
	state, err := l.Folder.Load()
	if err != nil {
		return err
	}
	s, err := l.Server(ctx, name)
	if err != nil {
		return err
	}
	if s.On() {
		return fmt.Errorf("%s is on; switch it off first: lab power off %s", name, name)
	}
	chassis, err := state.Server(name)
	if err != nil {
		return err
	}
	// What an installation that was cut off has left is the installer's own business; only a finished one needs a word.
	if err := l.Answers(ctx, name, chassis.Installed); err != nil {
		return err
	}
	if err := l.Office.Up(); err != nil {
		return err
	}
	limit := 20 * time.Minute
	if state.Kind == folder.Namespace {
		limit = 3 * time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the installation took longer than %v", limit))
	defer cancel()
	mark := l.consoleSize(name)
	if err := s.PowerOn(ctx, vm.Stick); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Wait(ctx) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case err := <-ended:
			if err != nil {
				return l.withConsole(name, fmt.Errorf("install %s: %w", name, err))
			}
			done = true
		case <-tick.C:
			if l.said(name, mark, gaveUp) {
				return l.withConsole(name, fmt.Errorf("install %s: the installer gave up", name))
			}
		}
	}
	if !l.said(name, mark, installed) {
		return l.withConsole(name, fmt.Errorf("install %s: the server went off before the installation was done", name))
	}
	return l.Folder.Change(func(st *folder.Lab) {
		for i := range st.Servers {
			if st.Servers[i].Name == name {
				st.Servers[i].Installed = true
			}
		}
	})
}

// Answers puts install.yaml for a server onto the stick; "" takes it off, so that the installer asks. erase allows disks
// that hold something to be overwritten.
func (l *Lab) Answers(ctx context.Context, name string, erase bool) error {
	st, err := l.Stick(ctx)
	if err != nil {
		return err
	}
	if name == "" {
		return st.Remove(ctx, layout.InstallConfig)
	}
	state, err := l.Folder.Load()
	if err != nil {
		return err
	}
	s, err := state.Server(name)
	if err != nil {
		return err
	}
	disks, err := l.Folder.Disks(name)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(l.Folder.Key() + ".pub")
	if err != nil {
		return fmt.Errorf("read the lab's key: %w", err)
	}
	order := stick.Order{
		Server: s, First: name == state.Servers[0].Name, Disks: disks, Password: state.Admin.Password,
		SSHKey: strings.TrimSpace(string(key)), Erase: erase,
	}
	if state.Kind == folder.VM {
		order.SystemDisk = vm.SystemSerial(name)
	}
	data, err := stick.Encode(stick.Answers(order))
	if err != nil {
		return err
	}
	return st.Write(ctx, layout.InstallConfig, data)
}

// Down ends the lab: everything that runs, the network, and, unless keep, all its disks. keep shuts the servers down in order.
func (l *Lab) Down(ctx context.Context, keep bool) error {
	if _, err := l.Folder.Load(); err != nil {
		return err
	}
	err := l.each(ctx, func(s Server, chassis folder.Server) error {
		if keep && s.On() {
			short, cancel := context.WithTimeout(ctx, 2*time.Minute)
			defer cancel()
			if err := s.PowerOff(short); err == nil {
				return nil
			}
		}
		return s.Cut(ctx)
	})
	if err := errors.Join(err, l.stopForward(ctx), l.Office.Down()); err != nil {
		return err
	}
	if keep {
		return nil
	}
	return l.Folder.Remove()
}

// Save keeps the lab's state under a name (or at a path, to share it between labs); all servers must be off.
func (l *Lab) Save(ctx context.Context, name string) error {
	if err := l.allOff(ctx); err != nil {
		return err
	}
	return l.Folder.Snapshot(ctx, l.Folder.SnapshotPath(name))
}

// Restore brings a saved state back, into this folder, which may be empty; all servers must be off.
func (l *Lab) Restore(ctx context.Context, name string) error {
	if err := l.allOff(ctx); err != nil && !errors.Is(err, folder.ErrNoLab) {
		return err
	}
	return l.Folder.Restore(ctx, l.Folder.SnapshotPath(name))
}

func (l *Lab) allOff(ctx context.Context) error {
	return l.each(ctx, func(s Server, chassis folder.Server) error {
		if s.On() {
			return fmt.Errorf("%s is on; shut it down first: lab power off %s", chassis.Name, chassis.Name)
		}
		return nil
	})
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

func (l *Lab) consoleSize(name string) int64 {
	st, err := os.Stat(l.Folder.ConsoleLog(name))
	if err != nil {
		return 0
	}
	return st.Size()
}

// What the installer says on the console in the end (initsvc/installer).
const (
	installed = "Installed. This was done:"
	gaveUp    = "The installation did not succeed."
)

// said tells whether a server has said something on its console since mark.
func (l *Lab) said(name string, mark int64, text string) bool {
	data, err := os.ReadFile(l.Folder.ConsoleLog(name))
	return err == nil && int64(len(data)) >= mark && bytes.Contains(data[mark:], []byte(text))
}

// withConsole adds the end of a server's console to an error.
func (l *Lab) withConsole(name string, err error) error {
	text, rerr := l.ConsoleTail(name, 30)
	if rerr != nil {
		return err
	}
	return fmt.Errorf("%w\nthe end of its console:\n%s", err, text)
}

// ConsoleTail returns the last lines of a server's recorded console.
func (l *Lab) ConsoleTail(name string, lines int) (string, error) {
	data, err := os.ReadFile(l.Folder.ConsoleLog(name))
	if err != nil {
		return "", fmt.Errorf("read the console of %s: %w", name, err)
	}
	all := strings.Split(strings.TrimRight(strings.ReplaceAll(string(data), "\r", ""), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n"), nil
}
