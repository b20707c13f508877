// Package ndp asks for, announces and watches IPv6 addresses on an Ethernet link by neighbour discovery (RFC 4861, and RFC 4862 for
// Duplicate Address Detection), as package arp does for IPv4. The kernel could do the asking, but cannot say who answered.
// It speaks through a packet socket, and configures nothing.
package ndp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds of message (ICMPv6 types).
const (
	Solicitation  = 135
	Advertisement = 136
)

// ErrNotNDP is returned by Parse for anything but a valid neighbour solicitation or advertisement.
var ErrNotNDP = errors.New("no neighbour solicitation or advertisement")

const (
	ipAt      = 14 // after the Ethernet header
	icmpAt    = ipAt + 40
	minLen    = icmpAt + 24
	icmpv6    = 58
	hopLimit  = 255     // RFC 4861: a smaller one came from another network
	override  = 1 << 29 // the receiver shall replace what it knows
	optTarget = 2       // target link-layer address
	ethIPv6   = 0x86dd
	etherLen  = 6
	maxFrame  = 1<<11 - 1
)

var (
	nobody   = netip.IPv6Unspecified()
	allNodes = netip.MustParseAddr("ff02::1")
)

// Packet is one message with the addresses of the frame around it.
type Packet struct {
	From   net.HardwareAddr // of the frame
	Source netip.Addr
	Kind   byte // Solicitation or Advertisement
	Target netip.Addr
}

// solicited is the group in which the holder of a listens (RFC 4291, 2.7.1).
func solicited(a netip.Addr) netip.Addr {
	b := netip.MustParseAddr("ff02::1:ff00:0").As16()
	full := a.As16()
	copy(b[13:], full[13:])
	return netip.AddrFrom16(b)
}

// groupMAC is the Ethernet address of a multicast group (RFC 2464, 7).
func groupMAC(g netip.Addr) net.HardwareAddr {
	b := g.As16()
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// question asks, as somebody who has no address yet, who has a.
func question(from net.HardwareAddr, a netip.Addr) []byte {
	body := make([]byte, 24)
	body[0] = Solicitation
	copy(body[8:], a.AsSlice())
	return frame(from, nobody, solicited(a), body)
}

// announcement tells all that from has a.
func announcement(from net.HardwareAddr, a netip.Addr) []byte {
	body := make([]byte, 32)
	body[0] = Advertisement
	binary.BigEndian.PutUint32(body[4:], override)
	copy(body[8:], a.AsSlice())
	body[24], body[25] = optTarget, 1
	copy(body[26:], from)
	return frame(from, a, allNodes, body)
}

func frame(from net.HardwareAddr, src, dst netip.Addr, body []byte) []byte {
	b := make([]byte, icmpAt, icmpAt+len(body))
	copy(b[0:6], groupMAC(dst))
	copy(b[6:12], from)
	binary.BigEndian.PutUint16(b[12:], ethIPv6)
	ip := b[ipAt:]
	ip[0] = 6 << 4
	binary.BigEndian.PutUint16(ip[4:], uint16(len(body)))
	ip[6], ip[7] = icmpv6, hopLimit
	copy(ip[8:24], src.AsSlice())
	copy(ip[24:40], dst.AsSlice())
	binary.BigEndian.PutUint16(body[2:], checksum(src.As16(), dst.As16(), body))
	return append(b, body...)
}

// checksum is that of RFC 8200, 8.1; 0 over a message that carries its right one.
func checksum(src, dst [16]byte, body []byte) uint16 {
	var sum uint32
	add := func(b []byte) {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			sum += uint32(b[len(b)-1]) << 8
		}
	}
	add(src[:])
	add(dst[:])
	sum += uint32(len(body)) + icmpv6
	add(body)
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// Parse reads a frame. What it returns does not share memory with b.
func Parse(b []byte) (Packet, error) {
	if len(b) < minLen || binary.BigEndian.Uint16(b[12:]) != ethIPv6 || b[ipAt]>>4 != 6 || b[ipAt+6] != icmpv6 || b[ipAt+7] != hopLimit {
		return Packet{}, ErrNotNDP
	}
	n := int(binary.BigEndian.Uint16(b[ipAt+4:]))
	if n < 24 || len(b) < icmpAt+n {
		return Packet{}, ErrNotNDP
	}
	body := b[icmpAt : icmpAt+n]
	src, dst := [16]byte(b[ipAt+8:ipAt+24]), [16]byte(b[ipAt+24:ipAt+40])
	if body[0] != Solicitation && body[0] != Advertisement || body[1] != 0 || checksum(src, dst, body) != 0 {
		return Packet{}, ErrNotNDP
	}
	return Packet{
		From: bytes.Clone(b[6:12]), Source: netip.AddrFrom16(src), Kind: body[0], Target: netip.AddrFrom16([16]byte(body[8:24])),
	}, nil
}

// Link is a packet socket that hears and sends neighbour discovery on one interface.
type Link struct {
	f    *os.File
	name string
	mac  net.HardwareAddr
}

// Open makes a Link of the interface, which hears what is said to the holders of the addresses. It stays with the network namespace of the calling thread.
func Open(ifname string, as ...netip.Addr) (*Link, error) {
	ifc, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("find network interface %s: %w", ifname, err)
	}
	if len(ifc.HardwareAddr) != etherLen {
		return nil, fmt.Errorf("network interface %s has no Ethernet address", ifname)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	if err := tune(fd, ifc.Index, as); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind packet socket to %s: %w", ifname, err)
	}
	return &Link{f: os.NewFile(uintptr(fd), "ndp:"+ifname), name: ifname, mac: ifc.HardwareAddr}, nil
}

// tune makes the socket hear neighbour discovery only, whatever the link carries, and what goes to the groups besides.
func tune(fd, index int, as []netip.Addr) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: ipAt + 6},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: icmpv6, Jf: 4},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: icmpAt},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: Solicitation, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: Advertisement, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: maxFrame},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		return err
	}
	groups := []netip.Addr{allNodes}
	for _, a := range as {
		groups = append(groups, solicited(a))
	}
	for _, g := range groups {
		m := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_MULTICAST, Alen: etherLen}
		copy(m.Address[:], groupMAC(g))
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return err
		}
	}
	proto := binary.NativeEndian.Uint16([]byte{ethIPv6 >> 8, ethIPv6 & 0xff}) // network byte order
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: index})
}

// Close ends what goes on with the Link.
func (c *Link) Close() { _ = c.f.Close() }

func (c *Link) send(frame []byte) error {
	if _, err := c.f.Write(frame); err != nil {
		return fmt.Errorf("send neighbour discovery: %w", err)
	}
	return nil
}

// read returns the next message that comes until deadline; os.ErrDeadlineExceeded when none does.
func (c *Link) read(deadline time.Time) (Packet, error) {
	if err := c.f.SetReadDeadline(deadline); err != nil {
		return Packet{}, fmt.Errorf("read neighbour discovery: %w", err)
	}
	buf := make([]byte, maxFrame)
	for {
		n, err := c.f.Read(buf)
		if err != nil {
			return Packet{}, fmt.Errorf("read neighbour discovery: %w", err)
		}
		if p, err := Parse(buf[:n]); err == nil {
			return p, nil
		}
	}
}
