package verify

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// Over UDP a question or its answer may get lost, and nobody but who asks sends it again: clients do so after a second or two, and so does a probe.
const (
	udpAsks = 3
	udpWait = 1500 * time.Millisecond
)

// asked asks until an answer comes, be it a refusal, a few times within the time of ctx. ask gives up after wait.
func asked(ctx context.Context, ask func(wait time.Duration) error) error {
	var err error
	for range udpAsks {
		wait := udpWait
		if d, ok := ctx.Deadline(); ok {
			wait = min(wait, time.Until(d))
		}
		if wait <= 0 || ctx.Err() != nil {
			return context.DeadlineExceeded
		}
		if err = ask(wait); err == nil || !isTimeout(err) {
			return err
		}
	}
	return context.DeadlineExceeded
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
