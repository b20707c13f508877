// Package maker names the maker of a network adapter by the first half of its MAC address, for people who look for a machine. It
// knows the makers with four or more prefixes in the IEEE's list, which are nearly all that are met; it asks no network.
package maker

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/hex"
	"net"
	"slices"
	"strings"
)

// makers is lines of "name TAB prefix prefix …", made by gen.go.
//
//go:generate go run gen.go
//go:embed makers.gz
var makers []byte

// Of returns the maker, or what kind of address it is when that has none; "" if not known. It unpacks its list each time, since it is asked once
// in a conflict and the list shall take no memory otherwise.
func Of(mac net.HardwareAddr) string {
	if len(mac) != 6 {
		return ""
	}
	switch prefix := hex.EncodeToString(mac[:3]); {
	case prefix == "02a71a":
		return "the service address of an ATLAS site"
	case prefix == "525400":
		return "a virtual machine, QEMU"
	case mac[0]&2 != 0:
		return "no maker's: a virtual machine, a container or a telephone"
	default:
		return find(prefix)
	}
}

func find(prefix string) string {
	r, err := gzip.NewReader(bytes.NewReader(makers))
	if err != nil {
		return ""
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // the largest makers have over a thousand
	for lines.Scan() {
		name, list, _ := strings.Cut(lines.Text(), "\t")
		if slices.Contains(strings.Fields(list), prefix) {
			return name
		}
	}
	return ""
}
