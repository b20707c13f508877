package benchboot

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Memory is that of the processes that supervise, in KiB, by process name.
type Memory struct {
	PSS, RSS map[string]int
}

// supervisors are the names of those processes. What both have, such as udevd, is counted for both.
func supervisors(server string) []string {
	if server == ours {
		return []string{"init", "systemd-udevd"} // sentry supervises nothing
	}
	return []string{"systemd", "systemd-journal", "systemd-logind", "systemd-udevd", "dbus-daemon", "(sd-pam)"}
}

// settle is how long a server is left alone before its memory is looked at.
const settle = 20 * time.Second

// memory asks a server which has just become ready. Names come from comm, since arguments may be overwritten.
func (b *bench) memory(ctx context.Context, server string) (Memory, error) {
	select {
	case <-ctx.Done():
		return Memory{}, ctx.Err()
	case <-time.After(settle):
	}
	const script = `for p in /proc/[0-9]*; do
	[ -r $p/smaps_rollup ] || continue
	set -- $(sed -n 's/^Rss: *\([0-9]*\).*/\1/p; s/^Pss: *\([0-9]*\).*/\1/p' $p/smaps_rollup 2>/dev/null)
	[ $# = 2 ] && echo "$(cat $p/comm) $1 $2"
done
exit 0 # the last process may have ended meanwhile`
	var out []byte
	var err error
	for range 10 { // sshd answers before PAM and accounts may be there
		if out, err = b.lab.Exec(ctx, server, "sh", "-c", script); err == nil {
			break
		}
		time.Sleep(2 * time.Second)
	}
	if err != nil {
		return Memory{}, fmt.Errorf("memory of %s: %w\n%s", title(server), err, out)
	}
	return parseMemory(string(out), supervisors(server)), nil
}

// parseMemory sums up lines of "NAME RSS PSS".
func parseMemory(text string, names []string) Memory {
	m := Memory{PSS: map[string]int{}, RSS: map[string]int{}}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 || !slices.Contains(names, f[0]) {
			continue
		}
		rss, err1 := strconv.Atoi(f[1])
		pss, err2 := strconv.Atoi(f[2])
		if err1 != nil || err2 != nil {
			continue
		}
		m.RSS[f[0]] += rss
		m.PSS[f[0]] += pss
	}
	return m
}

func total(m map[string]int) (sum int) {
	for _, v := range m {
		sum += v
	}
	return sum
}
