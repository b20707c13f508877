package carry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"sayasystems.com/atlas/sentry/peers"
)

// ask sends a request over line and reads the answer. What the other side refuses is a *Refusal.
func ask(ctx context.Context, line *peers.Line, method, path string, body io.Reader, size int64) ([]byte, error) {
	res, err := line.Do(ctx, method, path, body, size)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("ask %s: the answer broke off: %w", line.Peer().Name, err)
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("ask %s: the answer is longer than %d bytes", line.Peer().Name, maxAnswer)
	}
	if res.StatusCode != http.StatusOK {
		r := decodeRefusal(data, res.Status)
		if r.Code == CodeFailed && res.StatusCode == http.StatusNotFound {
			r.Code, r.Msg = CodeProtocol, "server "+line.Peer().Name+" runs an older version of ATLAS that does not take changes yet; update that server"
		}
		return nil, r
	}
	return data, nil
}

// backoff gives the waits between attempts: twice as long each time, give or take a quarter, so that servers do not fall into step.
type backoff struct {
	longest, last time.Duration
}

func (b *backoff) reset() { b.last = 0 }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, 50*time.Millisecond), b.longest)
	return time.Duration(float64(b.last) * (0.75 + rand.Float64()/2))
}

var errStalled = errors.New("nothing moves any more on the connection; it was cut")

// watched reads a request's body, and cuts the request when nobody takes it, or when no answer comes.
type watched struct {
	r      io.Reader
	left   int64
	stall  time.Duration
	answer time.Duration
	t      *time.Timer
	done   atomic.Bool
}

func watch(r io.Reader, n int64, stall, answer time.Duration, cut context.CancelCauseFunc) *watched {
	return &watched{r: r, left: n, stall: stall, answer: answer, t: time.AfterFunc(stall+3*time.Second, func() { cut(errStalled) })}
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.left -= int64(n)
	switch {
	case w.done.Load():
	case w.left <= 0:
		w.t.Reset(w.stall + w.answer)
	default:
		w.t.Reset(w.stall)
	}
	return n, err
}

func (w *watched) stop() {
	w.done.Store(true)
	w.t.Stop()
}
