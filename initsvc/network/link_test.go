package network

import (
	"errors"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	a := nic{index: 2, name: "eth0", mac: "52:54:00:00:00:0a", place: "/pci/00:03"}
	b := nic{index: 3, name: "eth1", mac: "52:54:00:00:00:0b", place: "/pci/00:02"}
	link := func(n nic) nic { n.link = true; return n }
	for _, tc := range []struct {
		name    string
		nics    []nic
		want    string
		settled bool
		choice  string
	}{
		{"none", nil, "", true, ""},
		{"no link", []nic{a, b}, "", true, ""},
		{"first in the hardware", []nic{link(a), link(b)}, "", false, "eth1"},
		{"second must wait", []nic{link(a), b}, "", false, ""},
		{"second after the wait", []nic{link(a), b}, "", true, "eth0"},
		{"by name", []nic{link(a), link(b)}, "eth0", false, "eth0"},
		{"by MAC", []nic{link(a), link(b)}, "52:54:00:00:00:0A", false, "eth0"},
		{"named without link", []nic{a, link(b)}, "eth0", true, ""},
		{"named is not there", []nic{link(a)}, "eth7", true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, _ := choose(tc.nics, tc.want, tc.settled); got.name != tc.choice {
				t.Errorf("choose = %q; want %q", got.name, tc.choice)
			}
		})
	}
}

func TestGiveUp(t *testing.T) {
	a := nic{index: 2, name: "eth0", mac: "52:54:00:00:00:0a", place: "/pci/00:03"}
	if _, err := giveUp(nil, ""); err == nil || !strings.Contains(err.Error(), "driver") {
		t.Errorf("giveUp without NICs = %v; want the driver named", err)
	}
	if _, err := giveUp([]nic{a}, "eth7"); err == nil || !strings.Contains(err.Error(), "eth7 not found; there are: eth0") {
		t.Errorf("giveUp with another name = %v; want both named", err)
	}
	if n, err := giveUp([]nic{a}, ""); !errors.Is(err, ErrNoLink) || n.name != "eth0" || !strings.Contains(err.Error(), "cable") {
		t.Errorf("giveUp without link = %v, %v; want eth0 and ErrNoLink", n, err)
	}
}
