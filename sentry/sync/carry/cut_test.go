package carry

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/sync/state"
)

// A link that breaks all the time. With TLS, a connection that greets and begins a push takes about 8 KB, and what counts after that are
// whole records: from 14 KB for each connection on, a transfer gets on.
func TestCatchUpOverABreakingLink(t *testing.T) {
	lim := fast
	lim.Beat = time.Hour
	for _, per := range []int64{14 << 10, 20 << 10, 100 << 10, 333_333} {
		t.Run(fmt.Sprint(per), func(t *testing.T) {
			rig := newRig(t, 2)
			left, right := rig.all[0], rig.all[1]
			right.receive(lim, nil)
			p := newProxy(t, right.ip, rig.port, func(int) int64 { return per })
			left.sender(lim, nil, map[string]string{"right": p.ip})
			var c state.Commit
			size := min(int(per)*10, 1<<20)
			for i := range 5 {
				c = left.hist.record(random(size/5, byte(i)))
			}
			left.send.Update(c)
			left.send.Allow(c)
			// More is recorded while the first is on its way.
			time.Sleep(20 * time.Millisecond)
			c = left.change([]byte("later"))
			right.waitHead(c)
			// Nothing is sent twice but what was in flight when the link broke, and greetings.
			if sent, limit := p.pass.Load(), int64(size)*4/3*3+per*20; sent > limit {
				t.Errorf("%d bytes crossed for %d bytes of changes; want at most %d", sent, size, limit)
			}
			checkEmpty(t, right.dir, incoming)
			waitFor(t, 5*time.Second, func() bool { return left.send.Status()["right"].Size == 0 }, func() string { return "still sending" })
			waitFor(t, 5*time.Second, func() bool { return len(files(t, left.dir, outgoing)) == 0 }, func() string { return "the pack's file is left" })
		})
	}
}

// Cut a small push at each place of the connection that carries it, and a large one at every few hundred bytes.
func TestCutAnywhere(t *testing.T) {
	lim := fast
	lim.Beat, lim.Backoff = time.Hour, 5*time.Millisecond
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	right.receive(lim, nil)
	at := make(chan int64, 1)
	p := newProxy(t, right.ip, rig.port, func(int) int64 {
		select {
		case n := <-at:
			return n
		default:
			return -1
		}
	})
	left.sender(lim, nil, map[string]string{"right": p.ip})
	right.waitHead(left.change([]byte("first")))
	step := int64(211)
	if n, err := strconv.ParseInt(os.Getenv("CARRY_STEP"), 10, 64); err == nil {
		step = n // 1 is every byte, and takes long
	}
	for n := int64(1); n < 6000; n += step {
		at <- n
		p.cut()
		right.waitHead(left.change(fmt.Appendf(nil, "cut at %d", n)))
	}
	for n := int64(1); n < 200_000; n += 30 * step {
		at <- n
		p.cut()
		right.waitHead(left.change(random(100_000, byte(n))))
	}
	checkEmpty(t, right.dir, incoming)
}

// The part that came survives that both daemons start again, and the transfer goes on instead of beginning anew.
func TestResumeAfterRestart(t *testing.T) {
	lim := fast
	lim.Beat, lim.Backoff = time.Hour, 5*time.Millisecond
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	recv := right.receive(lim, nil)
	open := make(chan struct{})
	p := newProxy(t, right.ip, rig.port, func(n int) int64 {
		select {
		case <-open:
			return -1
		default:
			if n > 30 {
				return 0
			}
			return 150 << 10
		}
	})
	send := left.sender(lim, nil, map[string]string{"right": p.ip})
	left.change(random(4<<20, 1))
	waitFor(t, 10*time.Second, func() bool { st := recv.state(); return st.Partial != nil && st.Partial.Got > 1<<20 }, func() string { return "no part arrived" })
	send.Stop()
	recv.Stop()
	if n := len(files(t, left.dir, outgoing)); n != 1 {
		t.Fatalf("%d files are left at the sender; want the pack", n)
	}
	ok(t, recv.Start(testSite, "secondary"))
	got := recv.state().Partial.Got
	crossed := p.pass.Load()
	close(open)
	// Another sender, as after a restart of the daemon; and the line has grown by then.
	next := left.sender(lim, nil, map[string]string{"right": p.ip})
	c := left.hist.record([]byte("more"))
	next.Update(c)
	next.Allow(c)
	right.waitHead(c)
	size := int64(4<<20) * 4 / 3
	if sent := p.pass.Load() - crossed; sent > size-got+500<<10 {
		t.Errorf("%d bytes crossed after the restart, where %d of %d had come already", sent, got, size)
	}
	if left.hist.exports != 2 {
		t.Errorf("%d exports; want 2: the first is used again", left.hist.exports)
	}
}

// One server that takes connections and says nothing, or stops in the middle, does not keep another from its changes; when it is back it gets all.
func TestHungReceiver(t *testing.T) {
	lim := fast
	lim.Stall, lim.Answer = 300*time.Millisecond, 300*time.Millisecond
	rig := newRig(t, 3)
	left, right, third := rig.all[0], rig.all[1], rig.all[2]
	right.receive(lim, nil)
	l, err := net.Listen("tcp", net.JoinHostPort(third.ip, fmt.Sprint(rig.port)))
	ok(t, err)
	done := make(chan struct{})
	go func() { // accepts and never answers
		defer close(done)
		var held []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				for _, c := range held {
					_ = c.Close()
				}
				return
			}
			held = append(held, c)
		}
	}()
	send := left.sender(lim, nil, nil)
	var c state.Commit
	from := time.Now()
	for i := range 20 {
		c = left.change(random(1000*i, byte(i)))
		right.waitHead(c)
	}
	if d := time.Since(from); d > 3*time.Second {
		t.Errorf("20 changes took %s beside a hung server", d)
	}
	waitFor(t, 15*time.Second, func() bool { st := send.Status()["third"]; return st.Err != "" && !st.Up }, func() string {
		return fmt.Sprintf("status of the hung one = %+v", send.Status()["third"])
	})
	_ = l.Close()
	<-done
	third.receive(lim, nil)
	send.Heard("third")
	third.waitHead(c)
}

// A receiver whose disk takes long to import: the sender asks again and finds it done, without sending it twice.
func TestSlowImport(t *testing.T) {
	lim := fast
	lim.Stall, lim.Answer = 300*time.Millisecond, 300*time.Millisecond
	rig := newRig(t, 2)
	left, right := rig.all[0], rig.all[1]
	right.receive(lim, nil)
	right.hist.slow = 1500 * time.Millisecond
	left.sender(lim, nil, nil)
	right.waitHead(left.change([]byte("x")))
	waitFor(t, 5*time.Second, func() bool { return left.send.Status()["right"].Err == "" }, func() string { return left.send.Status()["right"].Err })
}

func files(t *testing.T, dir, prefix string) []string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(dir, "carry"))
	ok(t, err)
	var out []string
	for _, e := range list {
		if strings.HasPrefix(e.Name(), prefix) {
			out = append(out, e.Name())
		}
	}
	return out
}

func checkEmpty(t *testing.T, dir, prefix string) {
	t.Helper()
	waitFor(t, 5*time.Second, func() bool { return len(files(t, dir, prefix)) == 0 }, func() string {
		return fmt.Sprintf("%s: left behind: %q", dir, files(t, dir, prefix))
	})
}
