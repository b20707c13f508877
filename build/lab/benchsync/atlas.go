package benchsync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sayasystems.com/atlas/build/lab"
	"sayasystems.com/atlas/build/lab/process"
)

// atlas is the lab's own site. Sentry is in a control group of its own on either server already.
func atlas(ctx context.Context, l *lab.Lab, _ string) (*contender, error) {
	c := &contender{name: "ATLAS"}
	for _, server := range []string{"left", "right"} {
		if err := waitReady(ctx, l, server); err != nil {
			return nil, err
		}
		id, err := process.Load(filepath.Join(l.Folder.Server(server), "run", "init.pid"))
		if err != nil {
			return nil, fmt.Errorf("find the processes of %s: %w", server, err)
		}
		etc := fmt.Sprintf("/proc/%d/root/etc/%s", id.PID, tree)
		if server == "left" {
			c.from = etc
		} else {
			c.to = etc
		}
		out, err := exec.CommandContext(ctx, "pgrep", "-P", strconv.Itoa(id.PID), "-f", "sentry daemon").Output()
		if err != nil {
			return nil, fmt.Errorf("find sentry of %s: %w", server, err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			return nil, fmt.Errorf("find sentry of %s: %w", server, err)
		}
		dir, err := groupOf(pid)
		if err != nil {
			return nil, fmt.Errorf("sentry of %s: %w", server, err)
		}
		c.group.dirs = append(c.group.dirs, dir)
	}
	return c, os.Mkdir(c.from, 0o755)
}

// waitReady waits until a swap would work, which means that both servers are in step.
func waitReady(ctx context.Context, l *lab.Lab, server string) error {
	for {
		out, err := l.Exec(ctx, server, "atlas", "status")
		if err == nil && strings.Contains(string(out), "ready to swap: yes") {
			return nil
		}
		if ended := pause(ctx, 2*time.Second); ended != nil {
			return errors.Join(ended, err)
		}
	}
}
