package network

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/network/ndp"
	"sayasystems.com/atlas/roles"
)

const service6 = "fd07::10"

func TestIPv6(t *testing.T) {
	w := newWire(t, "left", "right", "client")
	w.service6 = service6 + "/64"
	w.hosts["client"].address(t, "fd07::100/64")
	w.hosts["client"].address(t, "10.7.0.100/24")
	fromTwin, fromPrimary := w.tap(t, "right"), w.tap(t, "left")
	w.start(t, "left", "10.7.0.11/24", "10.7.0.12", roles.Primary)
	w.start(t, "right", "10.7.0.12/24", "10.7.0.11", roles.Secondary)
	for _, name := range []string{"left", "right"} {
		w.hosts[name].serve(t, "["+service6+"]:80")
		w.hosts[name].serve(t, "["+service6+"]:389")
	}
	w.hosts["client"].serve(t, "[fd07::100]:25")
	for _, tc := range []struct{ what, from, bind, to, want string }{
		{"client to the service", "client", "", "[fd07::10]:80", "left hears fd07::100"},
		{"client to a port of no pack", "client", "", "[fd07::10]:389", ""},
		{"primary to the client", "left", "", "[fd07::100]:25", "client hears fd07::10"},
		{"primary to itself", "left", "", "[fd07::10]:389", "left hears fd07::10"},
		{"twin to itself", "right", "", "[fd07::10]:80", "right hears fd07::10"},
		{"twin to the client", "right", "", "[fd07::100]:25", ""},
		{"twin to the client with the service address", "right", service6, "[fd07::100]:25", ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			got, err := w.hosts[tc.from].ask(tc.to, tc.bind)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("%s asks %s = %q, %v; want %q", tc.from, tc.to, got, err, tc.want)
			}
		})
	}
	if got := w.hosts["client"].neighbour(t, service6); got != serviceMAC {
		t.Errorf("client has %s at %s; want the service MAC", service6, got)
	}
	for _, f := range fromTwin() {
		if f.kind == unix.ETH_P_IPV6 {
			t.Errorf("IPv6 from the twin: %+v", f)
		}
	}
	announced := false
	for _, f := range fromPrimary() {
		// The question of the probe has the NIC's own MAC and no source address.
		if f.kind == unix.ETH_P_IPV6 && f.src != serviceMAC && !strings.HasPrefix(f.ip, ":: ") {
			t.Errorf("IPv6 from the management NIC: %+v", f)
		}
		announced = announced || f.ip == service6+" → ff02::1"
	}
	if !announced {
		t.Error("the IPv6 service address was not announced")
	}
}

func TestIPv6Conflict(t *testing.T) {
	w := newWire(t, "left", "intruder")
	w.service6 = service6 + "/64"
	p := w.start(t, "left", "10.7.0.11/24", "10.7.0.12", roles.Primary)
	w.hosts["left"].do(t, func() error { return Lower(t.Context()) })
	w.hosts["intruder"].address(t, service6+"/64")
	err := w.hosts["left"].try(func() error { return Raise(t.Context(), p, quiet) })
	var conflict ErrConflict
	if !errors.As(err, &conflict) || conflict.MAC.String() != "52:54:00:00:00:02" || conflict.Address.String() != service6 {
		t.Fatalf("Raise with the IPv6 address taken = %v; want a conflict with 52:54:00:00:00:02", err)
	}
	if !strings.Contains(err.Error(), "QEMU") {
		t.Errorf("the conflict does not name the maker: %v", err)
	}
	for _, at := range []string{serviceIP + ":80", "[" + service6 + "]:80"} {
		if got, err := w.hosts["left"].ask(at, ""); err == nil {
			t.Errorf("%s answers after a conflict: %q", at, got)
		}
	}

	w.cable(t, "intruder", false)
	w.hosts["left"].do(t, func() error { return Raise(t.Context(), p, quiet) })
	w.cable(t, "intruder", true)
	found := make(chan ErrConflict, 10)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	defended := make(chan error, 1)
	go func() {
		defended <- w.hosts["left"].try(func() error { return Defend(ctx, p, quiet, func(c ErrConflict) { found <- c; cancel() }) })
	}()
	for ctx.Err() == nil { // the cable takes a moment, and Defend another
		w.hosts["intruder"].do(t, func() error {
			l, err := ndp.Open("eth0")
			if err != nil {
				return err
			}
			defer l.Close()
			return l.Announce(netip.MustParseAddr(service6))
		})
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	if err := <-defended; err != nil {
		t.Errorf("Defend = %v; want nil", err)
	}
	select {
	case c := <-found:
		if c.MAC.String() != "52:54:00:00:00:02" {
			t.Errorf("Defend found %v; want 52:54:00:00:00:02", c)
		}
	default:
		t.Error("Defend has not found the intruder")
	}
}
