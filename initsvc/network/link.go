package network

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Waiting for a link: drivers load in the background, and Ethernet takes seconds to negotiate.
const (
	linkWait  = 20 * time.Second
	linkGrace = 3 * time.Second // after the first link, for one that stands earlier in the hardware
)

// nic is an Ethernet interface that may carry the management address.
type nic struct {
	index int
	name  string
	mac   string
	place string // in the hardware; orders NICs the same way at every boot, as names may not
	link  bool
}

func (n nic) String() string {
	state := "no link"
	if n.link {
		state = "link"
	}
	return fmt.Sprintf("%s (%s, %s)", n.name, n.mac, state)
}

// candidate tells whether l is a real Ethernet interface (or the lab's veth), and describes it.
func candidate(l netlink.Link) (nic, bool) {
	a := l.Attrs()
	if l.Type() != "device" && l.Type() != "veth" || a.EncapType != "ether" || len(a.HardwareAddr) != 6 || a.Name == Service {
		return nic{}, false
	}
	place, err := filepath.EvalSymlinks(filepath.Join("/sys/class/net", a.Name, "device"))
	if err != nil {
		place = "~" // after those that have one
	}
	return nic{index: a.Index, name: a.Name, mac: a.HardwareAddr.String(), place: place, link: a.RawFlags&unix.IFF_LOWER_UP != 0}, true
}

// choose picks the NIC called want, by name or MAC, or without want the first with a link. settled means that none is
// to be waited for any longer. ok is false while it is too early to say.
func choose(nics []nic, want string, settled bool) (n nic, ok bool) {
	sort.Slice(nics, func(i, j int) bool {
		if nics[i].place != nics[j].place {
			return nics[i].place < nics[j].place
		}
		return nics[i].index < nics[j].index
	})
	for i, n := range nics {
		if want != "" && n.name != want && !strings.EqualFold(n.mac, want) {
			continue
		}
		if n.link && (want != "" || settled || i == 0) {
			return n, true
		}
	}
	return nic{}, false
}

// waitLink switches the candidates on and waits until one can be chosen. At the end of waiting it returns the NIC that was meant,
// with ErrNoLink, or an error that lists what there is.
func waitLink(ctx context.Context, want string) (nic, error) {
	updates, done := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	defer close(done)
	if err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{ListExisting: true}); err != nil {
		return nic{}, fmt.Errorf("watch network interfaces: %w", err)
	}
	nics := map[int]nic{}
	var first <-chan time.Time
	settled := false
	limit := time.NewTimer(linkWait)
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return nic{}, fmt.Errorf("wait for a network link: %w", ctx.Err())
		case <-limit.C:
			return giveUp(list(nics), want)
		case <-first:
			settled = true
		case u, ok := <-updates:
			if !ok {
				return nic{}, errors.New("watch network interfaces: the kernel ended the subscription")
			}
			n, is := candidate(u.Link)
			switch {
			case u.Header.Type == unix.RTM_DELLINK || !is:
				delete(nics, u.Attrs().Index)
				continue
			case u.Flags&unix.IFF_UP == 0:
				if err := switchOn(u.Link); err != nil {
					return nic{}, err
				}
			}
			nics[n.index] = n
			if n.link && first == nil {
				first = time.After(linkGrace)
			}
		}
		// The first NIC in the hardware's order is taken as soon as it has a link; others wait for it a little.
		if n, ok := choose(list(nics), want, settled); ok {
			return n, nil
		}
	}
}

func switchOn(l netlink.Link) error {
	if err := apply(noIPv6(l.Attrs().Name)); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("switch network interface %s on: %w", l.Attrs().Name, err)
	}
	return nil
}

func giveUp(nics []nic, want string) (nic, error) {
	var seen []string
	for i := range nics {
		nics[i].link = true // as if; the order decides
	}
	n, ok := choose(nics, want, true)
	for _, n := range nics {
		seen = append(seen, fmt.Sprintf("%s (%s)", n.name, n.mac))
	}
	switch {
	case len(nics) == 0:
		return nic{}, errors.New("no Ethernet interface found; is its driver in the image?")
	case !ok:
		return nic{}, fmt.Errorf("network interface %s not found; there are: %s; correct management.interface in server.yaml", want, strings.Join(seen, ", "))
	}
	n.link = false
	return n, fmt.Errorf("network interface %s (%s): %w within %s; check the cable and the switch", n.name, n.mac, ErrNoLink, linkWait)
}

func list(m map[int]nic) []nic {
	out := make([]nic, 0, len(m))
	for _, n := range m {
		out = append(out, n)
	}
	return out
}

func hasLink(ifname string) (bool, error) {
	l, err := netlink.LinkByName(ifname)
	if err != nil {
		return false, fmt.Errorf("find network interface %s: %w", ifname, err)
	}
	return l.Attrs().RawFlags&unix.IFF_LOWER_UP != 0, nil
}
