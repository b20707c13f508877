// Package arp asks for, announces and watches an IPv4 address on an Ethernet link as RFC 5227 (IPv4 Address Conflict Detection)
// says: Probe before an address is used, Announce when it is, Watch as long as it is; several addresses at once. It speaks ARP (RFC 826) through a packet
// socket, and configures nothing.
package arp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Operations.
const (
	Request = 1
	Reply   = 2
)

// ErrNotARP is returned by Parse for anything but ARP for IPv4 over Ethernet.
var ErrNotARP = errors.New("not ARP for IPv4 over Ethernet")

const (
	headerLen = 14 // Ethernet
	frameLen  = headerLen + 28
)

var (
	broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	nobody    = netip.AddrFrom4([4]byte{})
)

// Packet is one ARP message with the addresses of the frame around it.
type Packet struct {
	To, From  net.HardwareAddr // of the frame
	Operation uint16
	SenderMAC net.HardwareAddr
	SenderIP  netip.Addr
	TargetMAC net.HardwareAddr
	TargetIP  netip.Addr
}

// Frame is p as it goes over the wire.
func (p Packet) Frame() []byte {
	b := make([]byte, frameLen)
	copy(b[0:6], p.To)
	copy(b[6:12], p.From)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_ARP)
	a := b[headerLen:]
	binary.BigEndian.PutUint16(a[0:], 1) // Ethernet
	binary.BigEndian.PutUint16(a[2:], unix.ETH_P_IP)
	a[4], a[5] = 6, 4
	binary.BigEndian.PutUint16(a[6:], p.Operation)
	copy(a[8:14], p.SenderMAC)
	copy(a[14:18], p.SenderIP.AsSlice())
	copy(a[18:24], p.TargetMAC)
	copy(a[24:28], p.TargetIP.AsSlice())
	return b
}

// Parse reads a frame. What it returns does not share memory with b.
func Parse(b []byte) (Packet, error) {
	if len(b) < frameLen || binary.BigEndian.Uint16(b[12:]) != unix.ETH_P_ARP {
		return Packet{}, ErrNotARP
	}
	a := b[headerLen:]
	if binary.BigEndian.Uint16(a[0:]) != 1 || binary.BigEndian.Uint16(a[2:]) != unix.ETH_P_IP || a[4] != 6 || a[5] != 4 {
		return Packet{}, ErrNotARP
	}
	mac := func(b []byte) net.HardwareAddr { return append(net.HardwareAddr(nil), b...) }
	return Packet{
		To: mac(b[0:6]), From: mac(b[6:12]),
		Operation: binary.BigEndian.Uint16(a[6:]),
		SenderMAC: mac(a[8:14]), SenderIP: netip.AddrFrom4([4]byte(a[14:18])),
		TargetMAC: mac(a[18:24]), TargetIP: netip.AddrFrom4([4]byte(a[24:28])),
	}, nil
}

// Link is a packet socket that hears and sends ARP on one interface.
type Link struct {
	f    *os.File
	name string
	mac  net.HardwareAddr
}

// Open makes a Link of the interface. It stays with the network namespace of the calling thread.
func Open(ifname string) (*Link, error) {
	ifc, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("find network interface %s: %w", ifname, err)
	}
	if len(ifc.HardwareAddr) != 6 {
		return nil, fmt.Errorf("network interface %s has no Ethernet address", ifname)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	proto := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ARP >> 8, unix.ETH_P_ARP & 0xff}) // network byte order
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: ifc.Index}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind packet socket to %s: %w", ifname, err)
	}
	return &Link{f: os.NewFile(uintptr(fd), "arp:"+ifname), name: ifname, mac: ifc.HardwareAddr}, nil
}

// Close ends what goes on with the Link.
func (c *Link) Close() { _ = c.f.Close() }

func (c *Link) send(p Packet) error {
	if _, err := c.f.Write(p.Frame()); err != nil {
		return fmt.Errorf("send ARP: %w", err)
	}
	return nil
}

// read returns the next ARP packet that comes until deadline; os.ErrDeadlineExceeded when none does.
func (c *Link) read(deadline time.Time) (Packet, error) {
	if err := c.f.SetReadDeadline(deadline); err != nil {
		return Packet{}, fmt.Errorf("read ARP: %w", err)
	}
	buf := make([]byte, 1600)
	for {
		n, err := c.f.Read(buf)
		if err != nil {
			return Packet{}, fmt.Errorf("read ARP: %w", err)
		}
		if p, err := Parse(buf[:n]); err == nil {
			return p, nil
		}
	}
}
