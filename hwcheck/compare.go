package hwcheck

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Compare tells what differs between two servers of a site so that a disk set may not run on one as it does on the other. The
// findings come most severe first. A difference is told once, with the weaker server named.
func Compare(a, b Inventory) []Finding {
	a.Server, b.Server = cmp.Or(a.Server, "one"), cmp.Or(b.Server, "two")
	var f []Finding
	f = append(f, compareMemory(a, b)...)
	f = append(f, compareCPU(a, b)...)
	f = append(f, compareNICs(a, b)...)
	f = append(f, compareDisks(a, b)...)
	for _, i := range []Inventory{a, b} {
		f = append(f, missingDrivers(i)...)
	}
	if a.Product != b.Product && a.Product != "" && b.Product != "" {
		f = append(f, Finding{
			ID: "compare-product", Severity: Info,
			What: fmt.Sprintf("The servers are different models: %s is a %s, %s a %s.", a.Server, a.Product, b.Server, b.Product),
		})
	}
	if a.Product == b.Product && a.Firmware != b.Firmware && a.Firmware != "" && b.Firmware != "" {
		f = append(f, Finding{
			ID: "compare-firmware", Severity: Info,
			What: fmt.Sprintf("The firmware differs: %s has %s, %s has %s.", a.Server, a.Firmware, b.Server, b.Firmware),
			Next: "Bring both to the same version when convenient.",
		})
	}
	return sorted(f)
}

func sorted(f []Finding) []Finding {
	rank := map[string]int{Critical: 0, Warning: 1, Info: 2}
	slices.SortStableFunc(f, func(x, y Finding) int { return rank[x.Severity] - rank[y.Severity] })
	return f
}

// less orders two servers by a figure: the weaker first.
func less[T cmp.Ordered](a, b Inventory, of func(Inventory) T) (weak, strong Inventory, differ bool) {
	switch cmp.Compare(of(a), of(b)) {
	case -1:
		return a, b, true
	case 1:
		return b, a, true
	}
	return a, b, false
}

func compareMemory(a, b Inventory) []Finding {
	weak, strong, differ := less(a, b, func(i Inventory) uint64 { return i.Memory })
	// Firmware and graphics take a little away from one or the other.
	if !differ || weak.Memory == 0 || strong.Memory-weak.Memory < strong.Memory/50 {
		return nil
	}
	severity := Warning
	if weak.Memory < strong.Memory/2 {
		severity = Critical
	}
	return []Finding{{
		ID: "compare-memory", Severity: severity,
		What: fmt.Sprintf("Server %s has less memory than %s: %s against %s.", weak.Server, strong.Server, size(weak.Memory), size(strong.Memory)),
		Next: "Add memory to server " + weak.Server + ", or make sure that all services fit into it.",
	}}
}

func compareCPU(a, b Inventory) []Finding {
	var f []Finding
	if weak, strong, differ := less(a, b, func(i Inventory) int { return i.CPU.Threads }); differ && weak.CPU.Threads > 0 {
		severity := Info
		if weak.CPU.Threads*2 <= strong.CPU.Threads {
			severity = Warning
		}
		f = append(f, Finding{
			ID: "compare-cpu-threads", Severity: severity,
			What: fmt.Sprintf("Server %s has fewer processor threads than %s: %d against %d.", weak.Server, strong.Server, weak.CPU.Threads, strong.CPU.Threads),
			Next: "Services may be slower there.",
		})
	}
	for _, p := range [][2]Inventory{{a, b}, {b, a}} {
		if lost := missingFlags(p[0].CPU.Flags, p[1].CPU.Flags); len(lost) > 0 {
			f = append(f, Finding{
				ID: "compare-cpu-flags", Severity: Warning,
				What: fmt.Sprintf("The processor of server %s lacks what that of %s has: %s.", p[0].Server, p[1].Server, strings.Join(lost, ", ")),
				Next: "Programs that were tuned to server " + p[1].Server + " may not run on " + p[0].Server + ".",
			})
		}
	}
	return f
}

// programFlags are processor features that programs use, as /proc/cpuinfo spells them; the others are the kernel's business.
var programFlags = []string{
	"sse4_1", "sse4_2", "popcnt", "cx16", "aes", "pclmulqdq", "avx", "avx2", "avx512f", "bmi1", "bmi2", "fma",
	"f16c", "movbe", "rdrand", "rdseed", "sha_ni", "vaes", "vmx", "svm",
}

func missingFlags(have, want []string) []string {
	if len(have) == 0 || len(want) == 0 {
		return nil
	}
	var lost []string
	for _, p := range programFlags {
		// A machine has either Intel's or AMD's virtualisation; that one lacks the other's is no loss.
		if (p == "vmx" && slices.Contains(have, "svm")) || (p == "svm" && slices.Contains(have, "vmx")) {
			continue
		}
		if slices.Contains(want, p) && !slices.Contains(have, p) {
			lost = append(lost, p)
		}
	}
	return lost
}

func compareNICs(a, b Inventory) []Finding {
	var f []Finding
	if weak, strong, differ := less(a, b, func(i Inventory) int { return len(i.NICs) }); differ {
		severity := Warning
		if len(weak.NICs) == 0 {
			severity = Critical
		}
		f = append(f, Finding{
			ID: "compare-nics", Severity: severity,
			What: fmt.Sprintf("Server %s has fewer network interfaces than %s: %d against %d.", weak.Server, strong.Server, len(weak.NICs), len(strong.NICs)),
			Next: "Add an interface to server " + weak.Server + ", or look whether its driver is missing.",
		})
	}
	fastest := func(i Inventory) int {
		s := 0
		for _, n := range i.NICs {
			s = max(s, n.Speed)
		}
		return s
	}
	if weak, strong, differ := less(a, b, fastest); differ && fastest(weak) > 0 {
		f = append(f, Finding{
			ID: "compare-nic-speed", Severity: Warning,
			What: fmt.Sprintf("The network of server %s is slower than that of %s: %d against %d Mbit/s.", weak.Server, strong.Server, fastest(weak), fastest(strong)),
			Next: "Check cable and switch port of server " + weak.Server + ".",
		})
	}
	return f
}

// inBays lists the disks of a set's bays.
func (i Inventory) inBays() []Disk {
	return slices.DeleteFunc(slices.Clone(i.Disks), func(d Disk) bool { return d.Bay == 0 || d.Removable })
}

func compareDisks(a, b Inventory) []Finding {
	da, db := a.inBays(), b.inBays()
	if len(da) == 0 || len(db) == 0 {
		return nil
	}
	var f []Finding
	if weak, strong, differ := less(a, b, func(i Inventory) int { return len(i.inBays()) }); differ {
		f = append(f, Finding{
			ID: "compare-disk-count", Severity: Warning,
			What: fmt.Sprintf("Server %s has fewer disks in its bays than %s: %d against %d.", weak.Server, strong.Server, len(weak.inBays()), len(strong.inBays())),
			Next: "Look whether a disk of server " + weak.Server + " is missing or has failed.",
		})
	}
	smallest := func(i Inventory) uint64 {
		return slices.MinFunc(i.inBays(), func(x, y Disk) int { return cmp.Compare(x.Size, y.Size) }).Size
	}
	if weak, strong, differ := less(a, b, smallest); differ {
		f = append(f, Finding{
			ID: "compare-disk-size", Severity: Warning,
			What: fmt.Sprintf("The disks of server %s are smaller than those of %s: %s against %s.", weak.Server, strong.Server, size(smallest(weak)), size(smallest(strong))),
			Next: "Replace them with disks of at least " + size(smallest(strong)) + ", so that a disk of either set can replace one of the other.",
		})
	}
	if sa, sb := sectors(da), sectors(db); sa != sb {
		f = append(f, Finding{
			ID: "compare-sector-size", Severity: Warning,
			What: fmt.Sprintf("The disks' sector sizes differ: server %s has %s bytes, %s has %s.", a.Server, sa, b.Server, sb),
			Next: "A disk of one set cannot replace one of the other set. Use disks with equal sectors.",
		})
	}
	return f
}

func sectors(disks []Disk) string {
	var s []int
	for _, d := range disks {
		if !slices.Contains(s, d.Sector) {
			s = append(s, d.Sector)
		}
	}
	slices.Sort(s)
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(s), " ", " and "), "[]")
}

func missingDrivers(i Inventory) []Finding {
	var f []Finding
	for _, d := range i.NoDriver {
		severity := Info
		if strings.HasPrefix(d.Modalias, "pci:") && (strings.Contains(d.Modalias, "bc01") || strings.Contains(d.Modalias, "bc02")) {
			severity = Warning // storage and network
		}
		f = append(f, Finding{
			ID: "no-driver-" + d.Address, Severity: severity,
			What: fmt.Sprintf("Server %s has no driver for the device at %s: %s.", cmp.Or(i.Server, "?"), d.Address,
				strings.Join(slices.DeleteFunc([]string{d.Vendor, d.Product, d.Class}, func(s string) bool { return s == "" }), ", ")),
			Next: "If the device is needed, ask the vendor for an image with its driver.",
		})
	}
	return f
}

// size says bytes as people do: memory and disks in powers of 2 and 10 as their makers count does not matter for comparing.
func size(n uint64) string {
	switch {
	case n >= 10<<40:
		return fmt.Sprintf("%d TiB", n>>40)
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
