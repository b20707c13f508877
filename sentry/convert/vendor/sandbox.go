package vendor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

const (
	nobody  = 65534
	maxText = 64 << 20
)

// Sandboxed is a Run that starts the program as nobody, without network, other processes or a way to leave something running.
func Sandboxed(command []string, timeout time.Duration, text []byte) (out, said []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/nonexistent"}
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(text)
	stdout, stderr := &capped{most: maxText, stop: cancel}, &capped{most: 64 << 10, stop: cancel}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{ // with a process namespace of its own, its end is the end of all that it started
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Setsid: true, Pdeathsig: syscall.SIGKILL,
	}
	err = cmd.Run()
	switch {
	case stdout.over || stderr.over:
		err = fmt.Errorf("%s writes more than %d MB", command[0], maxText>>20)
	case ctx.Err() != nil:
		err = fmt.Errorf("%s did not end within %s", command[0], timeout)
	case err != nil:
		err = fmt.Errorf("%s: %w", command[0], err)
	}
	return stdout.buf.Bytes(), stderr.buf.Bytes(), err
}

// capped takes so many bytes, and stops the program when there are more.
type capped struct {
	buf  bytes.Buffer // not embedded: io.Copy would pass Write by
	most int
	over bool
	stop func()
}

var errOver = errors.New("too much")

func (c *capped) Write(p []byte) (int, error) {
	if c.buf.Len()+len(p) > c.most {
		c.over = true
		c.stop()
		return 0, errOver
	}
	return c.buf.Write(p)
}
