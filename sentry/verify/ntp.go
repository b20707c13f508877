package verify

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/beevik/ntp"
)

// NTP asks for the time (RFC 5905) and compares it with the observer's own clock, which takes its time from the same site. Parameters:
// port ("123"), offset (Go duration beyond which it warns, "2s").
func NTP(ctx context.Context, t Target) Outcome {
	next := fmt.Sprintf("On %s ask the time service: `chronyc tracking`, `chronyc sources`.", t.Server)
	limit, err := time.ParseDuration(t.Param("offset", "2s"))
	if err != nil {
		return misnamed("the probe's offset is no duration")
	}
	begin(ctx, stepTransaction)
	var r *ntp.Response
	err = asked(ctx, func(wait time.Duration) (err error) {
		r, err = ntp.QueryWithOptions(net.JoinHostPort(t.Address, t.Param("port", "123")), ntp.QueryOptions{
			Timeout: wait,
			Dialer: func(_, remote string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "udp", remote)
			},
		})
		return err
	})
	if err != nil {
		return failed("ask for the time", err, next)
	}
	if err := r.Validate(); err != nil {
		return failure(fmt.Sprintf("answers, and has no time to give: %v", err), next)
	}
	off := r.ClockOffset.Round(100 * time.Microsecond)
	seen := "stratum " + strconv.Itoa(int(r.Stratum)) + ", " + off.String() + " beside this server's clock"
	if off.Abs() > limit {
		return warning(seen, "The clocks of the two servers differ; see `chronyc sources` on both.")
	}
	return Outcome{Status: Pass, Evidence: seen}
}
