package install

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/install/systemdisk"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/roles"
)

// minMember is the smallest disk of a set: label, filesystem, and room for the services' first data.
const minMember = 512 * layout.MiB

// Problem is one reason not to begin. Key is the answer that it comes from, as in install.yaml.
type Problem struct {
	Key  string
	Text string
}

// Problems are all reasons not to begin; they are an error.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, q := range p {
		lines[i] = q.Key + ": " + q.Text
	}
	return strings.Join(lines, "\n")
}

// Plan is what Run will do to which disks.
type Plan struct {
	System   *Disk // nil: the lab's namespaces have none
	Members  []Disk
	Warnings []string
}

// Erased are the disks of the plan that hold something.
func (p Plan) Erased() []Disk {
	var out []Disk
	if p.System != nil && p.System.Holds() != "" {
		out = append(out, *p.System)
	}
	for _, d := range p.Members {
		if d.Holds() != "" {
			out = append(out, d)
		}
	}
	return out
}

// Limits are what Check needs to know besides answers and disks.
type Limits struct {
	NoSystemDisk bool // the lab's namespaces: no system disk, and disks of any size
}

// Check holds the answers against the disks found. It reads nothing and writes nothing. The error is Problems.
func Check(a Answers, disks []Disk, l Limits) (Plan, error) {
	c := checker{disks: disks, limits: l, used: map[string]string{}}
	if !l.NoSystemDisk {
		c.system(a.SystemDisk)
	}
	for i, ch := range a.Set.Disks {
		c.member(fmt.Sprintf("set.disks[%d]", i), ch)
	}
	if len(a.Set.Disks) > 0 {
		if err := CheckLevel(a.Set.Level, len(a.Set.Disks)); err != nil {
			c.problem("set.level", "%v", err)
		}
		c.compare(a.Set.Level)
	}
	c.sense(a)
	if len(c.problems) > 0 {
		return c.plan, c.problems
	}
	return c.plan, nil
}

type checker struct {
	disks    []Disk
	limits   Limits
	used     map[string]string // device → key
	plan     Plan
	problems Problems
}

func (c *checker) problem(key, format string, args ...any) {
	c.problems = append(c.problems, Problem{Key: key, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) warn(format string, args ...any) {
	c.plan.Warnings = append(c.plan.Warnings, fmt.Sprintf(format, args...))
}

func (c *checker) system(ch DiskChoice) {
	const key = "system_disk"
	if ch.Serial == "" && ch.Bay == 0 {
		c.problem(key, "is missing; name the disk that stays in this server by its serial. In this server are: %s", names(c.disks))
		return
	}
	d, ok := c.pick(key, ch)
	if !ok {
		return
	}
	if d.Size < systemdisk.MinSize {
		c.problem(key, "%s is too small; a system disk needs %s", d.Name(), FormatSize(systemdisk.MinSize))
	}
	if d.Bay > 0 {
		c.warn("the system disk %s is in a swappable bay; it must never be swapped", d.Name())
	}
	c.plan.System = &d
}

func (c *checker) member(key string, ch DiskChoice) {
	d, ok := c.pick(key, ch)
	if !ok {
		return
	}
	if d.Size < minMember && !c.limits.NoSystemDisk {
		c.problem(key, "%s is too small; a disk of a set needs %s", d.Name(), FormatSize(minMember))
	}
	if d.Bay == 0 {
		c.warn("%s is not in a swappable bay (or its bay is not known): a swap of sets needs it carried over as well", d.Name())
	}
	c.plan.Members = append(c.plan.Members, d)
}

// pick finds a disk and refuses those that must not be written.
func (c *checker) pick(key string, ch DiskChoice) (Disk, bool) {
	d, err := Pick(c.disks, ch)
	if err != nil {
		c.problem(key, "%v", err)
		return d, false
	}
	if at := c.used[d.Dev]; at != "" {
		c.problem(key, "%s is chosen twice, here and as %s", d.Name(), at)
		return d, false
	}
	c.used[d.Dev] = key
	switch {
	case d.Stick:
		c.problem(key, "%s is the medium that this installer runs from; choose a disk that stays", d.Name())
		return d, false
	case d.Removable:
		c.problem(key, "%s is a removable medium; choose a disk that stays", d.Name())
		return d, false
	}
	if holds := d.Holds(); holds != "" && !ch.Erase {
		c.problem(key, "%s holds %s; to lose that for good, confirm it (in install.yaml: its serial and erase: true)", d.Name(), holds)
	}
	if d.Bus == "usb" {
		c.warn("%s is attached by USB, which is too slow and too loose for a server", d.Name())
	}
	return d, true
}

func (c *checker) compare(level roles.Level) {
	m := c.plan.Members
	if len(m) < 2 {
		return
	}
	small := slices.MinFunc(m, func(a, b Disk) int { return cmp.Compare(a.Size, b.Size) })
	large := slices.MaxFunc(m, func(a, b Disk) int { return cmp.Compare(a.Size, b.Size) })
	if large.Size-small.Size > small.Size/100 {
		c.warn("the disks of the set are of unequal size: of each only %s are used", FormatSize(small.Size))
	}
	if slices.ContainsFunc(m, func(d Disk) bool { return d.Sector != m[0].Sector }) {
		c.warn("the disks of the set have sectors of different size: writing will be slow")
	}
	if level == roles.RAID5 {
		c.warn("raid5 survives one failed disk only, and is slow while it rebuilds")
	}
}

// sense warns of what is possible but seldom meant.
func (c *checker) sense(a Answers) {
	switch {
	case a.New != nil && a.Set.Role == roles.Secondary:
		c.warn("a new site begins with a secondary set: nothing serves the office until a primary set is installed")
	case a.Join != nil && a.Set.Role == roles.Primary:
		c.warn("this server joins with a primary set: a site must have only one")
	case a.New != nil && len(a.Set.Disks) == 0:
		c.warn("a new site begins without a disk set: nothing serves the office")
	}
	if a.New != nil {
		s, m := addrOf(a.New.Service.Address), a.Management.Address
		if p, err := netip.ParsePrefix(m); err == nil && !p.Contains(s) {
			c.warn("service address %s and management address %s are in different networks", s, m)
		}
	}
}
