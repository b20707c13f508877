package installer

import (
	"context"
	"fmt"
	"io"
	"strings"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/install"
	"sayasystems.com/atlas/image/install/systemdisk"
	"sayasystems.com/atlas/roles"
)

// hardware is what was found in this server.
type hardware struct {
	inv   hwcheck.Inventory
	disks []install.Disk
}

// gather puts together what the store knows of the disks, what the inventory knows, and the marks of unfinished installations.
// stick is the device of the install medium's ESP.
func gather(found []roles.Disk, inv hwcheck.Inventory, stick string, mark func(dev string) (systemdisk.Mark, bool)) []install.Disk {
	var sites []string // of unfinished installations
	out := make([]install.Disk, len(found))
	for i, d := range found {
		out[i] = install.Disk{Disk: d, Stick: onDisk(stick, d.Dev)}
		for _, h := range inv.Disks {
			if h.Dev == d.Dev {
				out[i].Bus, out[i].Sector, out[i].Removable = h.Bus, h.Sector, h.Removable
			}
		}
		if m, ok := mark(d.Dev); ok {
			out[i].Unfinished = true
			sites = append(sites, m.Site)
		}
	}
	for _, site := range sites {
		own(out, site)
	}
	return out
}

// own marks as unfinished the disks with labels of a site that only an unfinished installation knows.
func own(disks []install.Disk, site string) {
	for i, d := range disks {
		if site != "" && d.Label != nil && d.Label.Site == site {
			disks[i].Unfinished = true
		}
	}
}

// onDisk tells whether part is dev or a partition of it: /dev/sda1, /dev/nvme0n1p1.
func onDisk(part, dev string) bool {
	rest, ok := strings.CutPrefix(part, dev)
	if !ok || part == "" || dev == "" {
		return false
	}
	return rest == "" || strings.Trim(strings.TrimPrefix(rest, "p"), "0123456789") == ""
}

// show prints the page of the hardware.
func (h hardware) show(c *console) {
	i := h.inv
	c.printf("This server\n")
	if i.Product != "" {
		c.printf("  %-11s %s, serial %s\n", "Product", i.Product, orDash(i.Serial))
	}
	if i.CPU.Model != "" {
		c.printf("  %-11s %s (%d cores)\n", "Processor", i.CPU.Model, i.CPU.Cores)
	}
	if i.Memory > 0 {
		c.printf("  %-11s %.1f GiB\n", "Memory", float64(i.Memory)/(1<<30))
	}
	for _, n := range i.NICs {
		link := "no cable"
		if n.Link {
			link = "link up"
			if n.Speed > 0 {
				link += fmt.Sprintf(", %d Mbit/s", n.Speed)
			}
		}
		c.printf("  %-11s %s, %s, %s, %s\n", "Network", n.Name, orDash(n.Driver), n.MAC, link)
	}
	for _, d := range i.NoDriver {
		c.printf("  %-11s no driver for %s %s (%s)\n", "Attention", d.Vendor, d.Product, d.Address)
	}
	c.printf("\nDisks\n")
	h.list(c.out)
}

// list prints the disks, numbered from 1 in the order of h.disks.
func (h hardware) list(w io.Writer) {
	if len(h.disks) == 0 {
		fmt.Fprintln(w, "  none")
		return
	}
	fmt.Fprintf(w, "  %2s  %-4s %-9s %-16s %-16s %s\n", "No", "Bay", "Size", "Serial", "Model", "Holds")
	for i, d := range h.disks {
		bay := "-"
		if d.Bay > 0 {
			bay = fmt.Sprint(d.Bay)
		}
		holds := d.Holds()
		switch {
		case d.Stick:
			holds = "this installer"
		case d.Removable:
			holds = "removable medium"
		case holds == "":
			holds = "nothing"
		}
		line := fmt.Sprintf("  %2d  %-4s %-9s %-16s %-16s ", i+1, bay, install.FormatSize(d.Size), cut(orDash(d.Serial), 16), cut(orDash(d.Model), 16))
		// What is on a disk must be read whole: it goes on below.
		for j, part := range strings.Split(wrap(holds, width-len([]rune(line))), "\n") {
			if j > 0 {
				line = strings.Repeat(" ", len([]rune(line)))
			}
			fmt.Fprintln(w, line+strings.TrimSpace(part))
		}
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// finder finds the hardware again and again: people add and pull disks while they answer.
type finder func(ctx context.Context) (hardware, error)
