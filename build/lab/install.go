package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/stick"
	"sayasystems.com/atlas/build/lab/vm"
	"sayasystems.com/atlas/image/layout"
)

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
	st, err := l.Stick(ctx, name)
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
		SSHKey: strings.TrimSpace(string(key)), Erase: erase, Services: state.Services,
	}
	if state.Kind == folder.VM {
		order.SystemDisk = vm.SystemSerial(name)
	}
	if !order.First {
		if err := l.joinCode(ctx, state, st, &order); err != nil {
			return err
		}
	}
	data, err := stick.Encode(stick.Answers(order))
	if err != nil {
		return err
	}
	return st.Write(ctx, layout.InstallConfig, data)
}

// joinCode settles how a server joins: by join.yaml, which the first server's installation has left on the stick and the second
// one's has used up, or by a code that a running server shows.
func (l *Lab) joinCode(ctx context.Context, state folder.Lab, st stick.Stick, o *stick.Order) error {
	if _, err := st.Read(ctx, layout.JoinFile); err == nil {
		return nil
	}
	var tried error
	for _, s := range state.Servers {
		if s.Name == o.Server.Name || !s.Installed {
			continue
		}
		out, err := l.Exec(ctx, s.Name, "atlas", "join-code", "--new")
		if err != nil {
			tried = errors.Join(tried, fmt.Errorf("ask %s for a join code: %w\n%s", s.Name, err, out))
			continue
		}
		o.Code, _, _ = strings.Cut(string(out), "\n")
		o.Peer = s.Address
		return nil
	}
	if tried == nil {
		tried = fmt.Errorf("no server of the lab is installed yet; install %s first", state.Servers[0].Name)
	}
	return fmt.Errorf("%s cannot join the site: %w", o.Server.Name, tried)
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
