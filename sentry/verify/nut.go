package verify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// NUT lists the UPSes of an upsd (RFC 9271) and asks each for its state. It never logs in: that would count as a computer that the UPS
// feeds. Parameters: port ("3493"), ups (one that must be there).
func NUT(ctx context.Context, t Target) Outcome {
	next := fmt.Sprintf("On %s look at the UPS service: `upsc -l`, `journalctl -u nut-server`.", t.Server)
	conn, err := dial(ctx, "tcp", t.Address, t.Param("port", "3493"))
	if err != nil {
		return failed("connect", err, next)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	begin(ctx, stepTransaction)
	c := nutClient{conn, bufio.NewReaderSize(conn, 4<<10)}
	defer func() { _, _ = conn.Write([]byte("LOGOUT\n")) }()
	names, err := c.list(ctx)
	if err != nil {
		return failed("list the UPSes", err, next)
	}
	if len(names) == 0 {
		return failure("upsd has no UPS", "Add it to /etc/nut/ups.conf.")
	}
	if want := t.Param("ups", ""); want != "" && !slices.Contains(names, want) {
		return failure(fmt.Sprintf("there is no UPS %s; there are %s", want, strings.Join(names, ", ")), next)
	}
	var seen, bad []string
	for _, n := range names {
		state, err := c.get(ctx, n, "ups.status")
		switch {
		case err != nil && ctx.Err() != nil:
			return failed("ask UPS "+n, ctx.Err(), next)
		case err != nil:
			bad = append(bad, n+": "+err.Error())
		case !slices.Contains(strings.Fields(state), "OL"):
			bad = append(bad, n+": "+nutState(state))
		default:
			seen = append(seen, n+": "+nutState(state))
		}
	}
	if len(bad) > 0 {
		return warning(strings.Join(append(bad, seen...), "; "), "Look at the UPS, its cable and its mains.")
	}
	return Outcome{Status: Pass, Evidence: strings.Join(seen, "; ")}
}

// nutState words the flags of ups.status.
func nutState(s string) string {
	words := map[string]string{"OL": "on mains", "OB": "on battery", "LB": "battery low", "CHRG": "charging", "DISCHRG": "discharging", "RB": "battery to be replaced", "OVER": "overloaded", "FSD": "shutting down", "OFF": "off", "BYPASS": "bypassed", "CAL": "calibrating", "ALARM": "alarm"}
	f := strings.Fields(s)
	for i, w := range f {
		if v, ok := words[w]; ok {
			f[i] = v
		}
	}
	return strings.Join(f, ", ")
}

// nutClient speaks the few commands of an observer.
type nutClient struct {
	conn net.Conn
	in   *bufio.Reader
}

// maxUPS bounds the answer of a server that does not end its list.
const maxUPS = 100

func (c nutClient) line(ctx context.Context) ([]string, error) {
	b, err := c.in.ReadSlice('\n')
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	f := nutWords(strings.TrimRight(string(b), "\r\n"))
	if len(f) == 0 {
		return nil, errors.New("an empty answer")
	}
	if f[0] == "ERR" {
		return nil, errors.New(strings.Join(f[1:], " "))
	}
	return f, nil
}

func (c nutClient) list(ctx context.Context) ([]string, error) {
	if _, err := c.conn.Write([]byte("LIST UPS\n")); err != nil {
		return nil, err
	}
	var names []string
	for range maxUPS {
		f, err := c.line(ctx)
		switch {
		case err != nil:
			return nil, err
		case f[0] == "BEGIN":
		case f[0] == "END":
			return names, nil
		case f[0] == "UPS" && len(f) > 1:
			names = append(names, f[1])
		default:
			return nil, fmt.Errorf("an answer that is none: %.40q", strings.Join(f, " "))
		}
	}
	return nil, errors.New("the list does not end")
}

func (c nutClient) get(ctx context.Context, ups, name string) (string, error) {
	if strings.ContainsAny(ups, " \"\\") { // cannot be asked for without quoting, and no real one is called so
		return "", errors.New("an impossible name")
	}
	if _, err := fmt.Fprintf(c.conn, "GET VAR %s %s\n", ups, name); err != nil {
		return "", err
	}
	f, err := c.line(ctx)
	if err != nil {
		return "", err
	}
	if len(f) != 4 || f[0] != "VAR" || f[1] != ups {
		return "", fmt.Errorf("an answer that is none: %.40q", strings.Join(f, " "))
	}
	return f[3], nil
}

// nutWords splits a line into words; quoted ones may hold spaces, and backslash takes the next byte as it is.
func nutWords(s string) []string {
	var out []string
	var word strings.Builder
	in, quoted := false, false
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case b == '\\' && i+1 < len(s):
			i++
			in = true
			word.WriteByte(s[i])
		case b == '"':
			in, quoted = true, !quoted
		case b == ' ' && !quoted:
			if in {
				out = append(out, word.String())
			}
			word.Reset()
			in = false
		default:
			in = true
			word.WriteByte(b)
		}
	}
	if in {
		out = append(out, word.String())
	}
	return out
}
