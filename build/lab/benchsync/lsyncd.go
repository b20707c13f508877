package benchsync

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sayasystems.com/atlas/build/lab"
	"sayasystems.com/atlas/build/lab/office"
)

// lsyncd runs without delay against an rsync daemon, in its fastest form: without TCP_NODELAY each change would wait some 80 ms for nothing.
func lsyncd(ctx context.Context, l *lab.Lab, dir string) (*contender, error) {
	dir = filepath.Join(dir, "lsyncd")
	c := &contender{name: "lsyncd+rsync", from: filepath.Join(dir, "from", tree), to: filepath.Join(dir, "to", tree)}
	if err := c.place(c.name, dir, map[string]string{
		"rsyncd.conf": fmt.Sprintf(`reverse lookup = no
use chroot = no
uid = root
gid = root
socket options = TCP_NODELAY
log file = %[1]s/rsyncd.log
[bench]
path = %[1]s/to
read only = no
`, dir),
		"lsyncd.lua": fmt.Sprintf(`settings { nodaemon = true, insist = true, logfile = "%[1]s/lsyncd.log", inotifyMode = "CloseWrite or Modify" }
sync {
  default.rsync, source = "%[1]s/from/", target = "rsync://%[2]s/bench", delay = 0,
  rsync = { archive = true, acls = true, xattrs = true, _extra = { "--sockopts=TCP_NODELAY" } }
}
`, dir, office.Client),
	}); err != nil {
		return c, err
	}
	for _, args := range [][]string{
		{"nsenter", "--net=" + l.Office.ClientNetNS(), "rsync", "--daemon", "--no-detach", "--config=" + dir + "/rsyncd.conf"},
		{"nsenter", "--net=" + l.Office.NetNS(), "lsyncd", dir + "/lsyncd.lua"},
	} {
		if err := c.daemon(ctx, nil, args...); err != nil { // the daemon listens, then lsyncd makes its first comparison
			return c, err
		}
	}
	return c, nil
}

// place makes the two directories, a control group, and files in dir.
func (c *contender) place(name, dir string, files map[string]string) error {
	for _, d := range []string{dir, c.from, c.to} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	g, end, err := newGroup(name)
	if err != nil {
		return err
	}
	c.group, c.ends = g, append(c.ends, end)
	return nil
}

// daemon starts one and gives it a moment to be there. It is ended before the group is.
func (c *contender) daemon(ctx context.Context, env []string, args ...string) error {
	end, err := c.group.start(ctx, env, args...)
	if err != nil {
		return err
	}
	c.ends = append([]func() error{end}, c.ends...)
	c.rest++
	return pause(ctx, time.Second)
}
