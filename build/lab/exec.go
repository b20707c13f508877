package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/namespace"
)

// ExitError tells that a command that was run for the caller failed, with its exit status.
type ExitError struct {
	Command string
	Code    int
}

func (e *ExitError) Error() string { return fmt.Sprintf("%s: exit status %d", e.Command, e.Code) }

// Streams are a command's input and output; nil is nothing.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exec runs a command on a server as root and returns what it printed. Its failure is an *ExitError.
func (l *Lab) Exec(ctx context.Context, server string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	err := l.ExecStreams(ctx, server, Streams{Out: &out, Err: &out}, args...)
	return out.Bytes(), err
}

// ExecStreams is Exec with the caller's streams. A terminal as input makes the command interactive.
func (l *Lab) ExecStreams(ctx context.Context, server string, st Streams, args ...string) error {
	s, err := l.Server(ctx, server)
	if err != nil {
		return err
	}
	if n, ok := s.(*namespace.Server); ok {
		p, err := n.Inside()
		if err != nil {
			return err
		}
		cmd, err := p.Command(args[0], args[1:]...)
		if err != nil {
			return fmt.Errorf("%s: %w", server, err)
		}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = st.In, st.Out, st.Err
		return finish(ctx, cmd, func() error { return p.Start(cmd) })
	}
	if !s.On() {
		return fmt.Errorf("%s is off; switch it on: lab power on %s", server, server)
	}
	return l.ssh(ctx, server, st, args)
}

// finish starts a command, kills it when ctx ends, and turns its exit status into an ExitError.
func finish(ctx context.Context, cmd *exec.Cmd, start func() error) error {
	if err := start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", cmd.Args[0], context.Cause(ctx))
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &ExitError{Command: cmd.Args[0], Code: exit.ExitCode()}
	}
	return err
}

// ssh runs a command over the server's own ssh service, with the key that its install.yaml brought.
func (l *Lab) ssh(ctx context.Context, server string, st Streams, args []string) error {
	state, err := l.Folder.Load()
	if err != nil {
		return err
	}
	chassis, err := state.Server(server)
	if err != nil {
		return err
	}
	client, err := l.dialSSH(ctx, chassis)
	// An emulated server at work on something else may take longer for a handshake than its sshd allows. Nothing has been run yet.
	for try := 1; err != nil && errors.Is(err, syscall.ECONNRESET) && try < 4; try++ {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try) * 2 * time.Second):
		}
		client, err = l.dialSSH(ctx, chassis)
	}
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("ssh to %s: %w", server, err)
	}
	defer func() { _ = session.Close() }()
	session.Stdout, session.Stderr = st.Out, st.Err
	f, isFile := st.In.(*os.File)
	switch {
	case !isFile:
		session.Stdin = st.In
	case term.IsTerminal(int(f.Fd())):
		session.Stdin = f
		restore, err := interactive(session, int(f.Fd()))
		if err != nil {
			return fmt.Errorf("ssh to %s: %w", server, err)
		}
		defer restore()
	default:
		// Copied by hand: the session must not wait for a pipe's end after the command's.
		in, err := session.StdinPipe()
		if err != nil {
			return fmt.Errorf("ssh to %s: %w", server, err)
		}
		go func() { _, _ = io.Copy(in, f); in.Close() }()
	}
	err = session.Run(quote(args))
	if ctx.Err() != nil {
		return fmt.Errorf("%s on %s: %w", args[0], server, context.Cause(ctx))
	}
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		return &ExitError{Command: args[0], Code: exit.ExitStatus()}
	}
	if err != nil {
		return fmt.Errorf("%s on %s: %w", args[0], server, err)
	}
	return nil
}

func (l *Lab) dialSSH(ctx context.Context, s folder.Server) (*ssh.Client, error) {
	pem, err := os.ReadFile(l.Folder.Key())
	if err != nil {
		return nil, fmt.Errorf("read the lab's key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		return nil, fmt.Errorf("read the lab's key: %w", err)
	}
	addr := net.JoinHostPort(s.Address, "22")
	conn, err := l.Office.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("ssh to %s: %w", s.Name, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c, chans, reqs, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		// Host keys are made by the server at its installation and nobody could have compared them.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("ssh to %s: %w", s.Name, err)
	}
	return ssh.NewClient(c, chans, reqs), nil
}

func interactive(session *ssh.Session, fd int) (restore func(), err error) {
	w, h, err := term.GetSize(fd)
	if err != nil {
		return nil, err
	}
	kind := os.Getenv("TERM")
	if kind == "" {
		kind = "vt100"
	}
	if err := session.RequestPty(kind, h, w, ssh.TerminalModes{}); err != nil {
		return nil, err
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	return func() { _ = term.Restore(fd, old) }, nil
}

// quote makes one shell command line of a command and its arguments, as sshd hands it to a shell.
func quote(args []string) string {
	q := make([]string, len(args))
	for i, a := range args {
		if a != "" && strings.IndexFunc(a, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+", r)
		}) < 0 {
			q[i] = a
			continue
		}
		q[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(q, " ")
}
