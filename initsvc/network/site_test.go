package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/network/arp"
	"sayasystems.com/atlas/roles"
)

const (
	serviceIP  = "10.7.0.10"
	ownIP      = "10.7.0.20"
	serviceMAC = "02:a7:1a:50:00:01"
)

var quiet = slog.New(slog.DiscardHandler)

// start brings a server up in the role, with the other one as its peer, and lets it serve "<name> hears <who>" on port 80 of the service address.
func (w *wire) start(t *testing.T, name, address, peer string, role roles.Role) Plan {
	t.Helper()
	h := w.hosts[name]
	var p Plan
	h.do(t, func() error {
		m, err := BringUp(t.Context(), siteconf.Management{Address: address}, quiet)
		if err != nil {
			return err
		}
		p = Plan{
			Role: role, Service: siteconf.Service{Address: serviceIP + "/24", Address6: w.service6, MAC: serviceMAC}, Management: m,
			Addresses: []siteconf.PackAddress{{Pack: "ad", Address: ownIP + "/24"}},
			Packs: []pack.Pack{
				{Name: "web", Ports: []pack.Port{{Port: 80}}}, {Name: "ad", Address: pack.AddressOwn, Ports: []pack.Port{{Port: 80}, {Port: 389}}},
			},
			Peers: []netip.Addr{netip.MustParseAddr(peer)},
		}
		return Raise(t.Context(), p, quiet)
	})
	for _, at := range []string{serviceIP + ":80", serviceIP + ":389", ownIP + ":80", ownIP + ":389"} {
		h.serve(t, at)
	}
	h.serve(t, p.Management.Address.Addr().String()+":8443")
	return p
}

func (h *host) serve(t *testing.T, at string) {
	t.Helper()
	var l net.Listener
	h.do(t, func() (err error) {
		l, err = net.Listen("tcp", at)
		return err
	})
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			who, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			what := ""
			if strings.HasPrefix(at, ownIP+":") {
				what = "'s ad"
			}
			fmt.Fprintf(c, "%s%s hears %s", h.name, what, who)
			_ = c.Close()
		}
	}()
}

// ask connects from the host and returns what it reads; from may be empty.
func (h *host) ask(at, from string) (string, error) {
	var out string
	err := h.try(func() error {
		d := net.Dialer{Timeout: 700 * time.Millisecond}
		if from != "" {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
		c, err := d.Dial("tcp", at)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		b, err := io.ReadAll(c)
		out = string(b)
		return err
	})
	return out, err
}

// frame is what a tap saw.
type frame struct {
	src, dst string
	kind     uint16
	ip       string // source → destination, for IP and ARP
	port     int    // of the sender, for TCP and UDP over IPv4
}

// tap records what comes from a host into the switch, until the returned function is called.
func (w *wire) tap(t *testing.T, name string) func() []frame {
	t.Helper()
	var fd int
	w.hub.do(t, func() error {
		ifc, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000}); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifc.Index})
	})
	var mu sync.Mutex
	var seen []frame
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2000)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, from, err := unix.Recvfrom(fd, buf, 0)
			if err != nil || n < 14 {
				continue
			}
			if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			mu.Lock()
			seen = append(seen, describe(buf[:n]))
			mu.Unlock()
		}
	}()
	return func() []frame {
		time.Sleep(100 * time.Millisecond) // for what is still on its way
		close(stop)
		<-done
		_ = unix.Close(fd)
		return seen
	}
}

func describe(b []byte) frame {
	if binary.BigEndian.Uint16(b[12:]) == unix.ETH_P_IPV6 && len(b) >= 54 {
		return frame{dst: net.HardwareAddr(b[0:6]).String(), src: net.HardwareAddr(b[6:12]).String(), kind: unix.ETH_P_IPV6, ip: net.IP(b[22:38]).String() + " → " + net.IP(b[38:54]).String()}
	}
	f := frame{dst: net.HardwareAddr(b[0:6]).String(), src: net.HardwareAddr(b[6:12]).String(), kind: binary.BigEndian.Uint16(b[12:])}
	if p, err := arp.Parse(b); err == nil {
		f.ip = p.SenderIP.String() + " → " + p.TargetIP.String()
	} else if f.kind == unix.ETH_P_IP && len(b) >= 34 {
		f.ip = net.IP(b[26:30]).String() + " → " + net.IP(b[30:34]).String()
		if len(b) >= 36 && (b[23] == unix.IPPROTO_TCP || b[23] == unix.IPPROTO_UDP) {
			f.port = int(binary.BigEndian.Uint16(b[34:])) // nobody sends IP options here
		}
	}
	return f
}

func TestSite(t *testing.T) {
	w := newWire(t, "left", "right", "client")
	w.hosts["client"].address(t, "10.7.0.100/24")
	fromTwin := w.tap(t, "right")
	fromPrimary := w.tap(t, "left")
	left := w.start(t, "left", "10.7.0.11/24", "10.7.0.12", roles.Primary)
	w.start(t, "right", "10.7.0.12/24", "10.7.0.11", roles.Secondary)

	for _, tc := range []struct{ what, from, bind, to, want string }{
		{"client to the service", "client", "", serviceIP + ":80", "left hears 10.7.0.100"},
		{"client to the primary's dashboard", "client", "", "10.7.0.11:8443", "left hears 10.7.0.100"},
		{"client to the twin's dashboard", "client", "", "10.7.0.12:8443", "right hears 10.7.0.100"},
		{"client to the service by the primary's management address", "client", "", "10.7.0.11:80", ""},
		{"client to the twin", "client", "", "10.7.0.12:80", ""},
		{"primary's Sentry to the twin", "left", "", "10.7.0.12:80", "right hears 10.7.0.11"},
		{"twin's Sentry to the primary", "right", "", "10.7.0.11:80", "left hears 10.7.0.12"},
		{"client to the pack's own address", "client", "", ownIP + ":389", "left's ad hears 10.7.0.100"},
		{"the same port at both addresses", "client", "", ownIP + ":80", "left's ad hears 10.7.0.100"},
		{"client to the pack at the service address", "client", "", serviceIP + ":389", ""},
		{"client to the pack by the peers' port", "client", "", "10.7.0.11:20389", ""},
		{"client to the twin's pack", "client", "", "10.7.0.12:20389", ""},
		{"primary's Sentry to the twin's pack", "left", "", "10.7.0.12:20389", "right's ad hears 10.7.0.11"},
		{"twin's Sentry to the primary's pack", "right", "", "10.7.0.11:20080", "left's ad hears 10.7.0.12"},
		{"twin's service to the twin's pack", "right", serviceIP, ownIP + ":389", "right's ad hears " + serviceIP},
		{"twin's pack to the client", "right", ownIP, "10.7.0.100:7", ""},
		{"primary to itself", "left", "", serviceIP + ":80", "left hears " + serviceIP},
		{"twin to itself", "right", "", serviceIP + ":80", "right hears " + serviceIP},
		{"twin's service to the client", "right", "", "10.7.0.100:7", ""},
		{"twin's service to the primary with the service address", "right", serviceIP, "10.7.0.11:8443", ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			got, err := w.hosts[tc.from].ask(tc.to, tc.bind)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("%s asks %s = %q, %v; want %q", tc.from, tc.to, got, err, tc.want)
			}
		})
	}
	for _, a := range []string{serviceIP, ownIP} {
		if got := w.hosts["client"].neighbour(t, a); got != serviceMAC {
			t.Errorf("client has %s at %s; want the service MAC %s", a, got, serviceMAC)
		}
	}
	t.Run("twin's service to the outside fails at the fence", func(t *testing.T) {
		w.hosts["client"].serve(t, "10.7.0.100:25")
		if got, err := w.hosts["right"].ask("10.7.0.100:25", ""); err == nil {
			t.Errorf("the twin reached the client's port 25: %q", got)
		}
		if got, err := w.hosts["left"].ask("10.7.0.100:25", serviceIP); err != nil || got != "client hears "+serviceIP {
			t.Errorf("the primary's service reaches the client's port 25 = %q, %v; want the service address heard", got, err)
		}
	})
	t.Run("the wire has seen nothing of the twin", func(t *testing.T) {
		for _, f := range fromTwin() {
			switch {
			case f.src == serviceMAC:
				t.Errorf("frame with the service MAC from the twin: %+v", f)
			case strings.HasPrefix(f.ip, serviceIP+" ") || strings.HasPrefix(f.ip, ownIP+" "):
				t.Errorf("frame with the service address from the twin: %+v", f)
			case f.kind == unix.ETH_P_IPV6:
				t.Errorf("IPv6 from the twin: %+v", f)
			case strings.HasSuffix(f.ip, "10.7.0.100") && f.kind == unix.ETH_P_IP && !strings.HasPrefix(f.ip, "10.7.0.12 "):
				t.Errorf("frame from the twin to the client: %+v", f)
			}
		}
	})
	t.Run("each address of the primary leaves with its own MAC", func(t *testing.T) {
		frames, service := fromPrimary(), 0
		for _, f := range frames {
			ours := strings.HasPrefix(f.ip, serviceIP+" ") || strings.HasPrefix(f.ip, ownIP+" ")
			if ours {
				service++
			}
			if ours != (f.src == serviceMAC) && f.ip != "" {
				t.Errorf("frame with the wrong MAC: %+v", f)
			}
		}
		if service == 0 {
			t.Errorf("no frame with the service address among %d: the tap is blind", len(frames))
		}
	})
	t.Run("raised again and lowered", func(t *testing.T) {
		w.hosts["left"].do(t, func() error { return Raise(t.Context(), left, quiet) })
		w.hosts["left"].do(t, func() error { return Lower(t.Context()) })
		w.hosts["left"].do(t, func() error { return Lower(t.Context()) })
		if got, err := w.hosts["client"].ask(serviceIP+":80", ""); err == nil {
			t.Errorf("after Lower the client still reaches %q", got)
		}
	})
}

func TestConflict(t *testing.T) {
	w := newWire(t, "left", "right", "intruder")
	// The twin of the same site is not a conflict: it must be silent on the wire.
	w.start(t, "right", "10.7.0.12/24", "10.7.0.11", roles.Secondary)
	p := w.start(t, "left", "10.7.0.11/24", "10.7.0.12", roles.Primary)
	w.hosts["left"].do(t, func() error { return Lower(t.Context()) })

	w.hosts["intruder"].address(t, serviceIP+"/24")
	err := w.hosts["left"].try(func() error { return Raise(t.Context(), p, quiet) })
	var conflict ErrConflict
	if !errors.As(err, &conflict) || conflict.MAC.String() != "52:54:00:00:00:03" {
		t.Fatalf("Raise with the address taken = %v; want a conflict with 52:54:00:00:00:03", err)
	}
	if got, err := w.hosts["left"].ask(serviceIP+":80", ""); err == nil {
		t.Errorf("the service address answers after a conflict: %q", got)
	}

	w.cable(t, "intruder", false)
	w.hosts["left"].do(t, func() error { return Raise(t.Context(), p, quiet) })
	found := make(chan ErrConflict, 10)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	defended := make(chan error, 1)
	go func() {
		defended <- w.hosts["left"].try(func() error { return Defend(ctx, p, quiet, func(c ErrConflict) { found <- c; cancel() }) })
	}()
	w.cable(t, "intruder", true)
	for ctx.Err() == nil { // the cable takes a moment, and Defend another
		w.hosts["intruder"].do(t, func() error { return arp.Announce("eth0", netip.MustParseAddr(serviceIP)) })
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
		if c.MAC.String() != "52:54:00:00:00:03" {
			t.Errorf("Defend found %v; want 52:54:00:00:00:03", c)
		}
	default:
		t.Error("Defend has not found the intruder")
	}
}

func TestNoLink(t *testing.T) {
	w := newWire(t, "left")
	w.cable(t, "left", false)
	go func() {
		time.Sleep(500 * time.Millisecond)
		_ = w.hub.try(func() error { return setUp("left") })
	}()
	var m Management
	began := time.Now()
	w.hosts["left"].do(t, func() (err error) {
		m, err = BringUp(t.Context(), siteconf.Management{Interface: "eth0", Address: "10.7.0.11/24", Gateway: "10.7.0.1"}, quiet)
		return err
	})
	if d := time.Since(began); d < 400*time.Millisecond || d > 5*time.Second || m.Interface != "eth0" {
		t.Errorf("BringUp = %v after %s; want eth0 as soon as the cable is in", m, d)
	}
	w.cable(t, "left", false)
	err := w.hosts["left"].try(func() error {
		return Raise(t.Context(), Plan{Role: roles.Primary, Service: siteconf.Service{Address: serviceIP + "/24", MAC: serviceMAC}, Management: m}, quiet)
	})
	if !errors.Is(err, ErrNoLink) {
		t.Errorf("Raise without a cable = %v; want ErrNoLink", err)
	}
}
