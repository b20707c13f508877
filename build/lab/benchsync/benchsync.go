// Package benchsync measures how long a changed file takes from the write on one server to the same bytes on the other: by ATLAS's
// Synchronizer between the two servers of a namespace lab, and by lsyncd with rsync over the same lab's network, in turn, file by file.
//
//	lab, lsyncd in the office's network, rsync's daemon at the client → rounds: write a file on one side, look at the other until it is there
//
// Both are watched in the same way: this program writes and reads the files of both sides itself. What is not the same is told by the report.
package benchsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sayasystems.com/atlas/build/hosttool"
	"sayasystems.com/atlas/build/lab"
	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/office"
	"sayasystems.com/atlas/build/lab/process"
)

// Options of Run.
type Options struct {
	Image  string // atlas-VERSION.img with its manifest beside it
	Dir    string // a folder that does not exist; removed at the end
	Writes int    // measured writes of each, for each size of tree
	Trees  []int  // how many other files lie in the tree
	Stdout io.Writer
}

// contender carries files from one directory to another.
type contender struct {
	name     string
	from, to string // as seen from here
	pids     []int  // what works for it, on both sides
}

// Run makes the lab and measures.
func Run(ctx context.Context, o Options) error {
	if err := hosttool.Need("lsyncd", "rsync"); err != nil {
		return err
	}
	l, err := lab.Open(filepath.Join(o.Dir, "lab"))
	if err != nil {
		return err
	}
	if err := l.Up(ctx, lab.Options{Kind: folder.Namespace, Servers: 2, Image: o.Image, Progress: o.Stdout}); err != nil {
		return err
	}
	defer func() { _ = l.Down(context.WithoutCancel(ctx), false) }() // the result is there; a folder left over tells itself
	ours, err := atlas(ctx, l)
	if err != nil {
		return err
	}
	theirs, stop, err := lsyncd(ctx, l, filepath.Join(o.Dir, "lsyncd"))
	if err != nil {
		return err
	}
	defer stop()
	all := []contender{ours, theirs}
	var results []result
	for _, tree := range o.Trees {
		fmt.Fprintf(o.Stdout, "putting %d files into both trees\n", tree)
		for _, c := range all {
			if err := fill(ctx, c, tree); err != nil {
				return err
			}
		}
		part := make([]result, len(all))
		for i, c := range all {
			part[i] = result{name: c.name, tree: tree, cpu: -c.cpu()}
		}
		for n := range o.Writes {
			for i, c := range all {
				took, err := c.write(ctx, tree, n)
				if err != nil {
					return err
				}
				part[i].took = append(part[i].took, took)
			}
		}
		for i, c := range all {
			part[i].cpu += c.cpu()
			part[i].memory = c.memory()
		}
		results = append(results, part...)
	}
	report(o.Stdout, o.Writes, results)
	return nil
}

// tree is the directory below which files are written, on both sides.
const tree = "bench"

// atlas is the lab's own site.
func atlas(ctx context.Context, l *lab.Lab) (contender, error) {
	c := contender{name: "ATLAS"}
	for _, server := range []string{"left", "right"} {
		if err := waitReady(ctx, l, server); err != nil {
			return c, err
		}
		id, err := process.Load(filepath.Join(l.Folder.Server(server), "run", "init.pid"))
		if err != nil {
			return c, fmt.Errorf("find the processes of %s: %w", server, err)
		}
		etc := fmt.Sprintf("/proc/%d/root/etc/%s", id.PID, tree)
		if server == "left" {
			c.from = etc
		} else {
			c.to = etc
		}
		out, err := exec.CommandContext(ctx, "pgrep", "-P", strconv.Itoa(id.PID), "-f", "sentry daemon").Output()
		if err != nil {
			return c, fmt.Errorf("find sentry of %s: %w", server, err)
		}
		for f := range strings.FieldsSeq(string(out)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				return c, fmt.Errorf("find sentry of %s: %w", server, err)
			}
			c.pids = append(c.pids, pid)
		}
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
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(2 * time.Second):
		}
	}
}

// lsyncd runs it without delay against an rsync daemon.
func lsyncd(ctx context.Context, l *lab.Lab, dir string) (c contender, stop func(), err error) {
	c = contender{name: "lsyncd+rsync", from: filepath.Join(dir, "from", tree), to: filepath.Join(dir, "to", tree)}
	for _, d := range []string{c.from, c.to} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return c, nil, err
		}
	}
	files := map[string]string{
		"rsyncd.conf": fmt.Sprintf("reverse lookup = no\nuse chroot = no\nuid = root\ngid = root\nlog file = %s/rsyncd.log\n[bench]\npath = %s/to\nread only = no\n", dir, dir),
		"lsyncd.lua": fmt.Sprintf(`settings { nodaemon = true, insist = true, logfile = "%[1]s/lsyncd.log", inotifyMode = "CloseWrite or Modify" }
sync { default.rsync, source = "%[1]s/from/", target = "rsync://%[2]s/bench", delay = 0, rsync = { archive = true, acls = true, xattrs = true } }
`, dir, office.Client),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return c, nil, err
		}
	}
	var running []*exec.Cmd
	stop = func() {
		for _, cmd := range running {
			_ = cmd.Process.Signal(os.Interrupt) // gone already is as good
			_ = cmd.Wait()
		}
	}
	for _, args := range [][]string{
		{"nsenter", "--net=" + l.Office.ClientNetNS(), "rsync", "--daemon", "--no-detach", "--config=" + dir + "/rsyncd.conf"},
		{"nsenter", "--net=" + l.Office.NetNS(), "lsyncd", dir + "/lsyncd.lua"},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		if err := cmd.Start(); err != nil {
			stop()
			return c, nil, fmt.Errorf("start %s: %w", args[2], err)
		}
		running = append(running, cmd)
		c.pids = append(c.pids, cmd.Process.Pid)
		time.Sleep(time.Second) // the daemon listens, then lsyncd makes its first comparison
	}
	return c, stop, nil
}

// fill makes n files that lie there, and waits until the other side has all.
func fill(ctx context.Context, c contender, n int) error {
	for i := range n {
		dir := filepath.Join(c.from, "other", strconv.Itoa(i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		path := filepath.Join(dir, strconv.Itoa(i)+".conf")
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "setting = %d\n%s", i, strings.Repeat("# as many lines as a small file has\n", 20)), 0o644); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(10 * time.Minute)
	for has := 0; has < n; has = count(filepath.Join(c.to, "other")) {
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("%s: the other side has %d of %d files: %w", c.name, has, n, context.DeadlineExceeded)
		}
		time.Sleep(500 * time.Millisecond)
	}
	time.Sleep(3 * time.Second) // what is still to be tidied up
	return nil
}

func count(dir string) int {
	n := 0
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return nil
	})
	return n
}

// write changes one file and waits until the other side has the same bytes.
func (c contender) write(ctx context.Context, tree, n int) (time.Duration, error) {
	name := fmt.Sprintf("measured-%d.conf", n%10)
	text := fmt.Appendf(nil, "tree = %d\nwrite = %d\n", tree, n)
	began := time.Now()
	if err := os.WriteFile(filepath.Join(c.from, name), text, 0o644); err != nil {
		return 0, err
	}
	for {
		if got, err := os.ReadFile(filepath.Join(c.to, name)); err == nil && bytes.Equal(got, text) {
			took := time.Since(began)
			time.Sleep(time.Second) // one action ends, and is not joined with the next
			return took, nil
		}
		if time.Since(began) > time.Minute || ctx.Err() != nil {
			return 0, fmt.Errorf("%s: %s did not arrive within a minute", c.name, name)
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// cpu is the processor time that the contender's processes, and those that they have waited for, have used.
func (c contender) cpu() time.Duration {
	ticks := 0
	for _, pid := range c.pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		for _, i := range []int{11, 12, 13, 14} { // utime, stime, cutime, cstime (proc_pid_stat(5))
			v, _ := strconv.Atoi(f[i])
			ticks += v
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}

// memory is what the contender's processes hold for themselves alone, in KiB.
func (c contender) memory() int {
	sum := 0
	for _, pid := range c.pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				v, _ := strconv.Atoi(f[1])
				sum += v
			}
		}
	}
	return sum
}
