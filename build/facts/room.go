package facts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/build/hosttool"
)

// room lays a throw-away layer over the tree ($1) and runs the script ($2) in it: with mounts, processes, a network and a host's name of its own, one
// processor, and a fixed number of open files, since daemons' defaults follow these. What it writes is gone with it.
const room = `set -e
hostname atlas
ip link set lo up
mount -t tmpfs -o mode=0755 room "$3"
mkdir "$3/upper" "$3/work" "$3/root"
mount -t overlay -o "lowerdir=$1,upperdir=$3/upper,workdir=$3/work" room "$3/root"
cd "$3/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=0755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mkdir run/lock
ulimit -n 16384
ulimit -c 0
exec taskset -c "$4" chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C TZ=UTC HOME=/tmp sh -c "$2"`

// patience is how long a daemon may take to answer: minutes on a busy machine, as some are asked thousands of words.
const patience = 20 * time.Minute

// enter runs a script in a room over the tree; said is its standard error, for messages.
func enter(ctx context.Context, tree, script string) (text, said string, err error) {
	if os.Geteuid() != 0 {
		return "", "", errors.New("entering a Debian tree needs root rights: run it as root (in a container will do)")
	}
	if err := hosttool.Need("unshare", "mount", "chroot"); err != nil {
		return "", "", err
	}
	dir, err := os.MkdirTemp("", "atlas-facts-")
	if err != nil {
		return "", "", fmt.Errorf("make a room: %w", err)
	}
	defer os.Remove(dir) // empty again: what was mounted on it went with the namespace
	if tree, err = filepath.Abs(tree); err != nil {
		return "", "", fmt.Errorf("make a room: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child",
		"sh", "-c", room, "room", tree, script, dir, processor())
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return out.String(), errOut.String(), fmt.Errorf("in the room: %w", err)
	}
	return out.String(), errOut.String(), nil
}

// processor is the first that this process may run on: daemons that count them find one.
func processor() string {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return "0"
	}
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			return strconv.Itoa(i)
		}
	}
	return "0"
}
