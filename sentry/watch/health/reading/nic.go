package reading

import "strings"

// NIC is a network card's port.
type NIC struct {
	Name    string `json:"name"`
	Up      bool   `json:"up"`               // switched on by the server
	Link    bool   `json:"link"`             // something answers at the cable's other end
	Speed   int    `json:"speed,omitempty"`  // Mbit/s; 0 = not known
	Duplex  string `json:"duplex,omitempty"` // "full", "half"
	Changes uint64 `json:"changes"`          // of the link, there and away
	Packets uint64 `json:"packets"`          // received and sent
	Errors  uint64 `json:"errors"`           // of both
}

// NICs reads /sys/class/net (Documentation/ABI/testing/sysfs-class-net), ports of cards only.
func (r Root) NICs() []NIC {
	var out []NIC
	for _, n := range r.names("sys/class/net") {
		dir := "sys/class/net/" + n + "/"
		if !r.exists(dir + "device") {
			continue
		}
		flags := r.word(dir + "flags") // hexadecimal; bit 0 is IFF_UP
		c := NIC{
			Name: n, Up: flags != "" && strings.ContainsRune("13579bdf", rune(flags[len(flags)-1])), Link: r.word(dir+"carrier") == "1", Duplex: r.word(dir + "duplex"),
			Changes: r.count(dir + "carrier_changes"),
		}
		if mbit, ok := r.number(dir + "speed"); ok && mbit > 0 && mbit <= 10_000_000 && c.Link {
			c.Speed = int(mbit)
		}
		if c.Duplex != "full" && c.Duplex != "half" || !c.Link {
			c.Duplex = ""
		}
		for _, way := range []string{"rx", "tx"} {
			c.Packets += r.count(dir + "statistics/" + way + "_packets")
			c.Errors += r.count(dir + "statistics/" + way + "_errors")
		}
		out = append(out, c)
	}
	return out
}
