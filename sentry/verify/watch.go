package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// ErrNoWatch is what Check.Watch answers where nothing can be seen now: the service is not meant to run, or is not known.
var ErrNoWatch = errors.New("nothing to watch now")

// watchTime is how long a watch may take. A lost packet is sent again after one second.
const watchTime = 3 * time.Second

// watch looks after a service between the runs of its checks. It tells nothing itself: when what it sees changes, the checks are run, and
// they know what to say.
func (r *Runner) watch(ctx context.Context, c *running) {
	type view int
	const (
		none view = iota
		well
		gone
	)
	was := none
	t := time.NewTimer(time.Duration(rand.Int64N(int64(r.set.Watch))))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		r.mu.Lock()
		look := c.check.Watch
		r.mu.Unlock()
		now := none
		if look != nil {
			one, cancel := context.WithTimeout(ctx, watchTime)
			switch err := look(one); {
			case err == nil:
				now = well
			case !errors.Is(err, ErrNoWatch):
				now = gone
			}
			cancel()
		}
		if was != none && now != none && was != now {
			r.kick(0, func(target, service string) bool { return target == c.check.Target && service == c.check.Service })
		}
		was = now
		t.Reset(jitter(r.set.Watch))
	}
}

// Connects is a watch that sees whether a TCP port accepts connections.
func Connects(ctx context.Context, address, port string) error {
	conn, err := dial(ctx, "tcp", address, port)
	if err != nil {
		return err
	}
	return conn.Close()
}

// clockJump is how far the time of day may run away from the time that has passed. Clocks that are set right slowly differ by far less.
const clockJump = 2 * time.Second

// clockLook is how often that is looked at.
const clockLook = 2 * time.Second

// watchClock makes everything unknown when the time of day jumps: what is how old cannot be told by it any more.
func (r *Runner) watchClock(ctx context.Context) {
	t := time.NewTicker(clockLook)
	defer t.Stop()
	from, wall := time.Now(), r.set.Now().Round(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now, day := time.Now(), r.set.Now().Round(0)
		if d := day.Sub(wall) - now.Sub(from); d.Abs() > clockJump {
			r.set.Log.Warn("the clock jumped", "by", d.Round(time.Millisecond))
			r.mu.Lock()
			all := make([]*running, 0, len(r.checks))
			for _, c := range r.checks {
				all = append(all, c)
			}
			r.mu.Unlock()
			for _, c := range all {
				r.note(c, jumped(r.set.Observer, d), nil, r.set.Now(), 0)
				c.soon(r.set.Quick)
			}
		}
		from, wall = now, day
	}
}

func jumped(observer string, d time.Duration) Outcome {
	way := "forward"
	if d < 0 {
		way = "back"
	}
	return unknown(fmt.Sprintf("the clock of %s jumped %s by %s; it is verified anew", observer, way, d.Abs().Round(time.Second)),
		"If nobody has set the clock, see `chronyc tracking` on "+observer+"; the battery on its main board may be empty.")
}
