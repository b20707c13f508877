package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/office"
	"sayasystems.com/atlas/build/lab/process"
	"sayasystems.com/atlas/image/layout"
)

// forwardVerb is the hidden verb of the forwarder's process.
const forwardVerb = "forward-helper"

func (l *Lab) forwardRecord() string { return filepath.Join(l.Folder.Dir, "run", "forward.pid") }

// Forward starts, in the background, what makes the dashboards and the service address reachable at 127.0.0.1 of this machine.
// It does nothing when that runs already. Status tells the addresses.
func (l *Lab) Forward(ctx context.Context) error {
	id, err := process.Load(l.forwardRecord())
	if err != nil {
		return err
	}
	if id.Alive() {
		return nil
	}
	exe := os.Getenv("ATLAS_LAB_PROGRAM")
	if exe == "" {
		if exe, err = os.Executable(); err != nil {
			return fmt.Errorf("find the lab's own program: %w", err)
		}
	}
	if filepath.Ext(exe) == ".test" {
		return errors.New("forwarding needs the build program; set ATLAS_LAB_PROGRAM to it")
	}
	cmd := exec.Command(exe, "lab", forwardVerb, l.Folder.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("forward ports: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("forward ports: %w", err)
	}
	if id, err = process.Of(cmd.Process.Pid, "port forwarder"); err == nil {
		err = id.Save(l.forwardRecord())
	}
	if err != nil {
		return err
	}
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(out).ReadString('\n') // a line or nothing
		line <- strings.TrimSpace(s)
		_ = cmd.Wait() // reaps it if it ends before this process
	}()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case s := <-line:
		if s != "ready" {
			return fmt.Errorf("forward ports: %s", s)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("forward ports: %w", ctx.Err())
	}
}

func (l *Lab) stopForward(ctx context.Context) error {
	id, err := process.Load(l.forwardRecord())
	if err != nil {
		return err
	}
	if err := id.Kill(ctx); err != nil {
		return err
	}
	if err := os.Remove(l.forwardRecord()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forward ports: %w", err)
	}
	return nil
}

// wanted lists what is forwarded, at the ports that are tried first.
func wanted(servers []folder.Server) []folder.Forward {
	var f []folder.Forward
	for i, s := range servers {
		f = append(f, folder.Forward{
			Name: "dashboard of " + s.Name, Listen: fmt.Sprintf("127.0.0.1:%d", 8441+i), To: fmt.Sprintf("%s:%d", s.Address, layout.DashboardPort), URL: "https://%s/",
		})
	}
	return append(f, folder.Forward{Name: "the office's web server", Listen: "127.0.0.1:8480", To: office.Service + ":80", URL: "http://%s/"})
}

// forwardMain is the forwarder's process. It tells "ready" or an error on out.
func forwardMain(ctx context.Context, dir string, out io.Writer) error {
	l, err := Open(dir)
	if err != nil {
		return err
	}
	state, err := l.Folder.Load()
	if err != nil {
		return err
	}
	list := wanted(state.Servers)
	var wg sync.WaitGroup
	for i, f := range list {
		ln, err := net.Listen("tcp", f.Listen)
		if err != nil { // another lab has the port: any will do
			if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				fmt.Fprintln(out, err)
				return fmt.Errorf("forward %s: %w", f.Name, err)
			}
		}
		list[i].Listen = ln.Addr().String()
		list[i].URL = fmt.Sprintf(f.URL, ln.Addr())
		wg.Go(func() { l.serveForward(ctx, ln, f.To) })
	}
	if err := l.Folder.Change(func(st *folder.Lab) { st.Forwards = list }); err != nil {
		fmt.Fprintln(out, err)
		return err
	}
	fmt.Fprintln(out, "ready")
	if c, ok := out.(io.Closer); ok {
		c.Close()
	}
	wg.Wait()
	return nil
}

func (l *Lab) serveForward(ctx context.Context, ln net.Listener, to string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			dial, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			far, err := l.Office.Dial(dial, "tcp", to)
			if err != nil {
				return // the caller sees the connection end, as with a server that is off
			}
			defer func() { _ = far.Close() }()
			go func() {
				_, _ = io.Copy(far, c) // ends with either side
				_ = far.Close()
			}()
			_, _ = io.Copy(c, far)
		}()
	}
}
