package benchsync

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"

	"sayasystems.com/atlas/build/lab"
	"sayasystems.com/atlas/build/lab/office"
)

// csync2 is etckeeper and csync2 as an administrator would join them: after each change etckeeper commits on the writing side, csync2 carries
// to the other side, and has etckeeper commit there. Both are called directly after the write, which is faster than anything that has to
// notice the change first; csync2 speaks without TLS, which is faster too.
func csync2(ctx context.Context, l *lab.Lab, dir string) (*contender, error) {
	programs := filepath.Join(dir, programs)
	dir = filepath.Join(dir, "csync2")
	c := &contender{name: "csync2+etckeeper", from: filepath.Join(dir, "from", tree), to: filepath.Join(dir, "to", tree)}
	etckeeper := filepath.Join(programs, "usr/bin/etckeeper")
	// csync2 knows its two sides by their addresses, since names could not be resolved in the lab's network.
	conf := fmt.Sprintf(`nossl * *;
group bench
{
  host %[2]s %[3]s;
  key %[1]s/key;
  include %%tree%%;
  exclude %%tree%%/.git;
  exclude %%tree%%/.etckeeper;
  action
  {
    pattern %%tree%%/*;
    exec "%[4]s commit -d %[1]s/to/%[5]s carried";
    logfile "%[1]s/action.log";
  }
  auto none;
}
prefix tree
{
  on %[2]s: %[1]s/from/%[5]s;
  on %[3]s: %[1]s/to/%[5]s;
}
`, dir, office.Gateway, office.Client, etckeeper, tree)
	if err := c.place(c.name, dir, map[string]string{
		"key": rand.Text() + rand.Text(), "conf/csync2.cfg": conf, "db/from/README": "csync2's databases", "db/to/README": "csync2's databases",
	}); err != nil {
		return c, err
	}
	env := []string{
		"HOME=" + dir, "PATH=" + filepath.Dir(etckeeper) + ":" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + filepath.Join(programs, "usr/lib/x86_64-linux-gnu"),
		"ETCKEEPER_CONF_DIR=" + filepath.Join(programs, "etc/etckeeper"), "CSYNC2_SYSTEM_DIR=" + filepath.Join(dir, "conf"),
		"GIT_AUTHOR_NAME=root", "GIT_AUTHOR_EMAIL=root@localhost", "GIT_COMMITTER_NAME=root", "GIT_COMMITTER_EMAIL=root@localhost", "GIT_CONFIG_NOSYSTEM=1",
	}
	for _, d := range []string{c.from, c.to} {
		for _, args := range [][]string{{etckeeper, "init", "-d", d}, {etckeeper, "commit", "-d", d, "begun"}} {
			if err := c.group.run(ctx, env, args...); err != nil {
				return c, err
			}
		}
	}
	program := filepath.Join(programs, "usr/sbin/csync2")
	err := c.daemon(ctx, env, "nsenter", "--net="+l.Office.ClientNetNS(), program, "-ii", "-N", office.Client, "-D", filepath.Join(dir, "db/to"), "-p", port)
	writing := func(ctx context.Context, what ...string) error {
		args := append([]string{"nsenter", "--net=" + l.Office.NetNS(), program, "-N", office.Gateway, "-D", filepath.Join(dir, "db/from"), "-p", port}, what...)
		return c.group.run(ctx, env, args...)
	}
	c.changed = func(ctx context.Context) error {
		if err := c.group.run(ctx, env, etckeeper, "commit", "-d", c.from, "changed"); err != nil {
			return err
		}
		return writing(ctx, "-x")
	}
	// csync2 would take seven minutes to carry 50,000 files; its manual's way is to copy them otherwise and to tell it so (-I).
	c.begin = func(ctx context.Context) error {
		for _, d := range []string{c.from, c.to} {
			if err := c.group.run(ctx, env, etckeeper, "commit", "-d", d, "other files"); err != nil {
				return err
			}
		}
		return writing(ctx, "-cIr", "/")
	}
	return c, err
}

// port is csync2's.
const port = "30865"
