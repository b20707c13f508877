package carry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sayasystems.com/atlas/sentry/sync/history"
)

// listen waits for the peer's news until the link ends.
func (l *link) listen() {
	defer l.in.Close()
	wait := backoff{longest: min(2*time.Second, l.s.lim.Backoff)}
	epoch, n, failed := "", uint64(0), false
	for l.ctx.Err() == nil {
		p, err := l.hear(epoch, n)
		if l.ctx.Err() != nil {
			return
		}
		l.outcome(&l.hearErr, err)
		if err != nil {
			failed = true
			select {
			case <-l.ctx.Done():
			case <-l.s.clock.After(wait.next()):
			}
			continue
		}
		if failed { // it is back
			failed = false
			poke(l.retry)
		}
		wait.reset()
		if p.Epoch == epoch && p.N < n {
			p.N = n // it cannot be; at least do not ask all the time
		}
		news := p.Epoch != epoch || p.N != n
		epoch, n = p.Epoch, p.N
		l.s.mu.Lock()
		l.report, l.reportAt = p, l.s.clock.Now()
		if news {
			l.newsAt = l.reportAt
		}
		l.up, l.reached = true, l.reportAt
		st := l.status()
		l.s.mu.Unlock()
		if news {
			l.tell(st)
		}
	}
}

func (l *link) hear(epoch string, n uint64) (Progress, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.s.lim.Poll+l.s.lim.Stall)
	defer cancel()
	path := PathProgress + "?epoch=" + url.QueryEscape(epoch) + "&after=" + strconv.FormatUint(n, 10)
	data, err := ask(ctx, l.in, http.MethodGet, path, nil, 0)
	if err != nil {
		return Progress{}, err
	}
	p, err := decodeProgress(data)
	if err != nil {
		return p, fmt.Errorf("ask %s: %w", l.peer.Name, err)
	}
	return p, nil
}

// status needs s.mu.
func (l *link) status() Status {
	s, now := l.s, l.s.clock.Now()
	st := Status{
		Peer: l.peer.Name, Address: l.peer.Address, Versions: l.versions, Up: l.up, Reached: l.reached, Received: l.received,
		Live: l.report.Live, State: l.report.State, Sent: l.sent, Size: l.size, Held: s.held, Findings: l.report.Findings, LastReport: l.reportAt, Apart: l.apart,
	}
	if l.report.Head.Seq > st.Received.Seq {
		st.Received = l.report.Head
	}
	if l.report.Head != st.Received {
		st.State = Receiving // its report is of an earlier state
	}
	if s.head.Seq > st.Live.Seq {
		st.Lag = Lag{Commits: s.head.Seq - st.Live.Seq, Since: s.since(st.Live.Seq)}
	}
	for _, err := range []error{l.sendErr, l.hearErr} {
		if err != nil && st.Err == "" {
			_, damaged := errors.AsType[*history.DamagedError](err)
			st.Err, st.Code, st.Damaged = err.Error(), CodeOf(err), damaged
		}
	}
	last := later(l.reportAt, l.began)
	if !st.State.settled() && st.Received.ID != "" && l.size == 0 {
		last = later(later(l.newsAt, l.receivedAt), l.began)
		last = earlier(last, later(l.reportAt, l.began))
	}
	if silent := now.Sub(last); silent > s.lim.Missing {
		st.Missing = true
		if st.Err == "" {
			st.Err = fmt.Sprintf("server %s has told nothing for %s about what became of the changes", l.peer.Name, silent.Round(time.Second))
		}
	}
	return st
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
