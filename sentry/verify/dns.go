package verify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// DNS asks a name server as an office computer does, over UDP and then over TCP, and wants an answer from its own records.
// Parameters: name (needed), type ("A"; "SRV", …), contains (text in one of the answers), port ("53").
func DNS(ctx context.Context, t Target) Outcome {
	name, kind := t.Param("name", ""), strings.ToUpper(t.Param("type", "A"))
	number, known := dns.StringToType[kind]
	if name == "" || !known {
		return misnamed("the probe names no record to ask for, or of an unknown type")
	}
	next := fmt.Sprintf("On %s look at the name service: `atlas service list`, and its log.", t.Server)
	seen := ""
	begin(ctx, stepTransaction)
	for _, transport := range []string{"udp", "tcp"} {
		records, err := lookup(ctx, t, transport, name, number)
		if err != nil {
			return failed("ask for "+kind+" "+name+" over "+strings.ToUpper(transport), err, next)
		}
		if seen = record(records, t.Param("contains", "")); seen == "" {
			return failure(fmt.Sprintf("%s %s has %d records over %s, none with “%s”", kind, name, len(records), strings.ToUpper(transport), t.Param("contains", "")), next)
		}
	}
	return Outcome{Status: Pass, Evidence: fmt.Sprintf("%s %s is %s, over UDP and TCP", kind, name, seen)}
}

// lookup returns the records of the asked type, as text without their names.
func lookup(ctx context.Context, t Target, transport, name string, kind uint16) ([]string, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	c := &dns.Client{Net: transport}
	// The library obeys the deadline of ctx, but not its cancellation; the probe's caller sets a deadline.
	var r *dns.Msg
	ask := func(ctx context.Context) (err error) {
		r, _, err = c.ExchangeContext(ctx, q, net.JoinHostPort(t.Address, t.Param("port", "53")))
		return err
	}
	var err error
	if transport == "tcp" {
		err = ask(ctx)
	} else {
		err = asked(ctx, func(wait time.Duration) error {
			ctx, cancel := context.WithTimeout(ctx, wait)
			defer cancel()
			return ask(ctx)
		})
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, context.DeadlineExceeded // the same deadline, kept by the connection
	case err != nil:
		return nil, err
	case r.Rcode != dns.RcodeSuccess:
		return nil, fmt.Errorf("the server answers %s", dns.RcodeToString[r.Rcode])
	case !r.Authoritative:
		return nil, errors.New("the server answers, but not from its own records")
	}
	var out []string
	for _, rr := range r.Answer {
		if rr.Header().Rrtype == kind {
			out = append(out, strings.TrimSpace(strings.TrimPrefix(rr.String(), rr.Header().String())))
		}
	}
	return out, nil
}

// record is the first of records that has text in it, whatever the case; "" = none.
func record(records []string, text string) string {
	for _, r := range records {
		if strings.Contains(strings.ToLower(r), strings.ToLower(text)) {
			return r
		}
	}
	return ""
}
