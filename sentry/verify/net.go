package verify

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	probing "github.com/prometheus-community/pro-bing"
)

// TCP connects, and reads a greeting if asked. Parameters: port (needed), expect (how the greeting begins).
func TCP(ctx context.Context, t Target) Outcome {
	port := t.Param("port", "")
	if port == "" {
		return misnamed("the probe names no port")
	}
	next := "See whether the service runs on " + t.Server + ": `atlas service list`."
	conn, err := dial(ctx, "tcp", t.Address, port)
	if err != nil {
		return failed("connect to port "+port, unwrapURL(err), next)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	want := t.Param("expect", "")
	begin(ctx, stepTransaction)
	if want == "" {
		return Outcome{Status: Pass, Evidence: "port " + port + " accepts connections"}
	}
	buf := make([]byte, 256)
	n := 0
	for n < len(want) {
		m, err := conn.Read(buf[n:])
		n += m
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return failed("greeting on port "+port, err, next)
		}
	}
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	if !strings.HasPrefix(string(buf[:n]), want) {
		return failure(fmt.Sprintf("port %s greets with %q, expected %q", port, strings.TrimSpace(line), want), next)
	}
	return Outcome{Status: Pass, Evidence: fmt.Sprintf("port %s greets with %q", port, strings.TrimSpace(line))}
}

// Ping sends three ICMP echo requests: raw sockets where allowed, else the kernel's datagram ones.
func Ping(ctx context.Context, t Target) Outcome {
	next := fmt.Sprintf("Check the cable, the switch and the address %s.", t.Address)
	var first error // of the raw socket, which is the one that should work
	begin(ctx, stepTransaction)
	for _, privileged := range []bool{true, false} {
		p := probing.New(t.Address)
		p.Count, p.Interval, p.Timeout = 3, 100*time.Millisecond, 2*time.Second
		p.SetPrivileged(privileged)
		if err := p.RunWithContext(ctx); err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		s := p.Statistics()
		switch {
		case s.PacketsRecv == 0:
			return failure(fmt.Sprintf("%s does not answer ping", t.Address), next)
		case s.PacketsRecv < s.PacketsSent:
			return warning(fmt.Sprintf("%s answers %d of %d pings", t.Address, s.PacketsRecv, s.PacketsSent), next)
		}
		return Outcome{Status: Pass, Evidence: fmt.Sprintf("%s answers in %.1f ms", t.Address, float64(s.AvgRtt.Microseconds())/1000)}
	}
	return unknown(fmt.Sprintf("cannot ping from here: %v", first), "Report this to the vendor.")
}

// unwrapURL drops the method and URL that net/http puts before an error.
func unwrapURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
