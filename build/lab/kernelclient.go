package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sayasystems.com/atlas/build/lab/office"
	"sayasystems.com/atlas/build/lab/place"
	"sayasystems.com/atlas/build/toolsroot"
)

// The kernel client is a second office computer with a kernel of its own, for what a network namespace cannot do on every
// machine: NFS mounts by the kernel's client. It is a user-mode Linux with the tools root as its root, booted for one command
// and switched off after it, which takes a few seconds.

const (
	kernelClientCable = "kclient0"
	kernelClientLimit = "600" // seconds
	kernelClientInit  = `#!/bin/sh
# PID 1 of the kernel client: the machine around one command, which lies beside this file with its output and exit status.
PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp/home TMPDIR=/tmp LANG=C.UTF-8 KRB5_CONFIG=/tmp/etc/krb5.conf
export PATH HOME TMPDIR LANG KRB5_CONFIG
dir=$1
setup() {
	set -e
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mountpoint -q /dev || mount -t devtmpfs dev /dev
	mount -t tmpfs tmpfs /run
	mount -t tmpfs tmpfs /mnt
	# Modules are loaded from memory: a kernel may not read them through a host's file system by descriptor.
	mkdir -p /run/modules /mnt/nfs /mnt/v3 /mnt/v4
	for m in $(cat "$dir/modules"); do
		cp "/usr/lib/uml/modules/$m" /run/modules/
		insmod "/run/modules/${m##*/}"
	done
	ip link set lo up
	ip link set vec0 up
	ip addr add ` + office.NFS + office.Prefix + ` dev vec0
	ip route add default via ` + office.Gateway + `
}
(setup) >"$dir/out" 2>&1 && { cd /tmp; sh "$dir/command"; } >>"$dir/out" 2>&1
echo $? >"$dir/exit.new" && mv "$dir/exit.new" "$dir/exit"
sync
umount -a -f -t nfs,nfs4 2>/dev/null
echo o >/proc/sysrq-trigger
sleep 60
`
)

// kernelClientModules are loaded with what they need.
func kernelClientModules() []string { return []string{"nfsv3", "nfsv4"} }

// KernelClient runs a shell script on the office computer that has a kernel of its own, and returns what it printed. Its failure is
// an *ExitError. /mnt/nfs, /mnt/v3 and /mnt/v4 are there to mount on; /tmp is the other client's.
func (l *Lab) KernelClient(ctx context.Context, script string) ([]byte, error) {
	if _, err := l.Folder.Load(); err != nil {
		return nil, err
	}
	if !l.Office.Exists() {
		return nil, errors.New("the lab's network is not there; switch a server on: lab power on SERVER")
	}
	unlock, err := l.Folder.Lock("kernel-client") // it has one cable
	if err != nil {
		return nil, err
	}
	defer unlock()
	tools, err := toolsroot.Ensure(ctx, nil)
	if err != nil {
		return nil, err
	}
	p, err := l.clientPlace(tools.Path)
	if err != nil {
		return nil, err
	}
	p.NetNS = l.Office.NetNS()
	dir, err := os.MkdirTemp(l.clientDir(), "kernel-")
	if err != nil {
		return nil, fmt.Errorf("kernel client: %w", err)
	}
	defer os.RemoveAll(dir)
	modules, err := umlModules(tools, kernelClientModules())
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"init": kernelClientInit, "command": script, "modules": strings.Join(modules, "\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			return nil, fmt.Errorf("kernel client: %w", err)
		}
	}
	if err := l.Office.Tap(kernelClientCable); err != nil {
		return nil, err
	}
	inside := "/tmp/" + filepath.Base(dir)
	// gro=1 gives it buffers for the large packets that the switch hands on. It ends by itself even if this process is killed.
	cmd, err := p.Command("timeout", "-k", "5", kernelClientLimit, "linux.uml", "mem=320M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "con0=null,fd:1", "con=null", "ssl=null",
		"uml_dir="+inside, "quiet", "panic=-1", "vec0:transport=tap,gro=1,ifname="+kernelClientCable+",mac=52:54:00:4e:46:53",
		"init=/bin/sh", "--", inside+"/init", inside)
	if err != nil {
		return nil, fmt.Errorf("kernel client: %w", err)
	}
	cmd.Env = append(cmd.Env, "TMPDIR="+inside)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := runGroup(ctx, p, cmd); err != nil {
		return nil, fmt.Errorf("kernel client: %w\n%s", err, said.Bytes())
	}
	out, _ := os.ReadFile(filepath.Join(dir, "out")) // absent if it did not come so far; the next read tells
	code, err := os.ReadFile(filepath.Join(dir, "exit"))
	if err != nil {
		return out, fmt.Errorf("kernel client: it ended before its command did\n%s", said.Bytes())
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(code))); err != nil || n != 0 {
		return out, &ExitError{Command: "kernel client", Code: n}
	}
	return out, nil
}

// runGroup runs cmd, which is several processes, and ends all of them when ctx ends.
func runGroup(ctx context.Context, p place.Place, cmd *exec.Cmd) error {
	cmd.SysProcAttr = ownGroup()
	if err := p.Start(cmd); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { killGroup(cmd.Process.Pid) })
	defer stop()
	_ = cmd.Wait() // its exit status tells nothing: the command's lies in a file
	if ctx.Err() != nil {
		return fmt.Errorf("it did not end in time: %w", context.Cause(ctx))
	}
	return nil
}

// umlModules returns paths of modules below usr/lib/uml/modules, each after those that it needs.
func umlModules(tools toolsroot.Root, names []string) ([]string, error) {
	base := tools.File("usr/lib/uml/modules")
	found, err := filepath.Glob(filepath.Join(base, "*", "modules.dep"))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("modules of user-mode Linux in %s: %d trees; want one", base, len(found))
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		return nil, fmt.Errorf("modules of user-mode Linux: %w", err)
	}
	return inOrder(string(data), filepath.Base(filepath.Dir(found[0])), names)
}

// inOrder reads modules.dep, whose lines name a module and, nearest first, all that it needs.
func inOrder(dep, release string, names []string) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	for _, name := range names {
		at := false
		for line := range strings.Lines(dep) {
			path, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
			if strings.TrimSuffix(filepath.Base(path), ".ko") != name {
				continue
			}
			at = true
			list := append([]string{path}, strings.Fields(needs)...)
			for _, module := range slices.Backward(list) {
				if !seen[module] {
					seen[module] = true
					out = append(out, filepath.Join(release, module))
				}
			}
		}
		if !at {
			return nil, fmt.Errorf("user-mode Linux has no module %s", name)
		}
	}
	return out, nil
}
