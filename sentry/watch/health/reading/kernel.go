package reading

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds of what the kernel tells.
const (
	KernelIO        = "io"        // a disk did not read or write; Subject is the disk
	KernelReset     = "reset"     // the connection to a disk was set up anew; Subject is its port or controller
	KernelFS        = "fs"        // a filesystem found itself damaged; Subject is its device
	KernelOOM       = "oom"       // memory ran out and a program was ended; Subject is the program
	KernelLink      = "link"      // a network cable's link was lost; Subject is the port
	KernelMachine   = "machine"   // the processor or the memory reported an error that it mended
	KernelFatal     = "fatal"     // … that it could not mend
	KernelThrottled = "throttled" // the processor runs slower since it is too hot
	KernelHung      = "hung"      // a program waits for a disk for minutes; Subject is the program
	KernelBus       = "bus"       // an expansion card reported an error; Subject is its address
	KernelAttached  = "attached"  // a disk was found: what was told before of one with this name was another one
)

// KernelEvent is one message that means something.
type KernelEvent struct {
	Kind    string
	Subject string
	Text    string
	At      time.Time
}

// pattern finds a kind of message; its first group that matches is the subject.
type pattern struct {
	kind string
	re   *regexp.Regexp
	hint string // text without which re cannot match: most messages are about none of these
}

// patterns are from the sources of Linux 5.10 to 6.12: block/blk-core.c, drivers/ata/libata-eh.c, drivers/nvme/host, fs/ext4/super.c, mm/oom_kill.c,
// drivers/net, arch/x86/kernel/cpu/mce, kernel/hung_task.c, drivers/pci/pcie/aer.c. The first that fits counts.
func patterns() []pattern {
	p := func(kind, hint, re string) pattern { return pattern{kind, regexp.MustCompile(re), hint} }
	const disk = `((?:sd[a-z]{1,3}|vd[a-z]{1,2}|nvme\d+(?:c\d+)?n\d+|mmcblk\d+))`
	const drive = `((?:md|sd|vd|nvme|mmcblk)\w*)` // not a file that somebody has mounted
	return []pattern{
		p(KernelAttached, "Attached SCSI", `\[`+disk+`\] Attached SCSI`),
		p(KernelAttached, "pci function", `^nvme (nvme\d+): pci function`),
		p(KernelIO, "error, dev", `(?:I/O|critical (?:medium|target|nexus)|protection|timeout) error, dev `+disk+`\b`),
		p(KernelIO, "Buffer I/O error", `Buffer I/O error on dev(?:ice)? `+disk),
		p(KernelReset, "exception Emask", `^(ata\d+)(?:\.\d+)?: exception Emask`),
		p(KernelReset, "hard resetting link", `^(ata\d+)(?:\.\d+)?: hard resetting link`),
		p(KernelReset, "nvme", `^nvme (nvme\d+): (?:I/O .*timeout|controller is down|Device not ready|Removing after probe failure)`),
		p(KernelFS, "-fs error", `^EXT4-fs error \(device `+drive+`\)`),
		p(KernelFS, "Aborting journal", `^Aborting journal on device `+drive+`-\d+\.`),
		p(KernelOOM, "Killed process", `[Oo]ut of memory(?: \([^)]*\))?: Killed process \d+ \(([^)]+)\)`),
		p(KernelLink, "ink is ", `(?:^|[\s:])([a-z][\w.-]{1,14}):? (?:NIC |Network )?[Ll]ink is [Dd]own`),
		p(KernelLink, "ink Down", `(?:^|[\s:])([a-z][\w.-]{1,14}): (?:NIC )?Link Down`),
		p(KernelFatal, "Hardware Error", `\[Hardware Error\].*(?:[Uu]ncorrected|fatal|Fatal|PCC|UE\b)`),
		p(KernelFatal, "Machine check:", `Machine check: (?:Processor context corrupt|.*[Uu]ncorrected)`),
		p(KernelMachine, "achine check", `^mce: (?:\[Hardware Error\]: )?Machine check events logged`),
		p(KernelMachine, "Hardware Error", `\[Hardware Error\].*(?:[Cc]orrected error|CE\b|Machine Check)`),
		p(KernelThrottled, "above threshold", `temperature (?:is )?above threshold`),
		p(KernelHung, "blocked for more", `INFO: task ([^:]+):\d+ blocked for more than`),
		p(KernelBus, "AER", `AER: (?:Multiple )?(?:Uncorrected|Uncorrectable|Fatal).*?(?:received|error)?:? ?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.\d)`),
	}
}

// Kernel reads the kernel's log as it grows. It is not for several goroutines at once.
type Kernel struct {
	path     string
	patterns []pattern
	fd       int
}

// Kernel opens /dev/kmsg (Documentation/ABI/testing/dev-kmsg), from the oldest message that the kernel has.
func (r Root) Kernel() (*Kernel, error) {
	k := &Kernel{path: r.path("dev/kmsg"), patterns: patterns()}
	fd, err := unix.Open(k.path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", k.path, ErrAbsent)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", k.path, err)
	}
	k.fd = fd // no os.File: the runtime's poller would wait for more
	return k, nil
}

// Close ends reading.
func (k *Kernel) Close() error { return unix.Close(k.fd) }

// mostRecords at one look: the rest is read at the next one.
const mostRecords = 20_000

// New gives what has come since it was last asked. booted is when the kernel's clock began.
func (k *Kernel) New(booted time.Time) ([]KernelEvent, error) {
	var out []KernelEvent
	buf := make([]byte, 9<<10) // a record is at most 8 KiB
	for range mostRecords {
		n, err := unix.Read(k.fd, buf)
		switch {
		case errors.Is(err, unix.EPIPE): // overwritten before it was read
			continue
		case errors.Is(err, unix.EAGAIN):
			return out, nil
		case err != nil:
			return out, fmt.Errorf("read %s: %w", k.path, err)
		case n <= 0:
			return out, nil
		}
		for line := range strings.Lines(string(buf[:n])) { // one record, with its details; of a recorded file several
			if e, ok := parseKernel(k.patterns, line, booted); ok {
				out = append(out, e)
			}
		}
	}
	return out, nil
}

// parseKernel reads a record, "priority,number,µs since boot,flags;text" and lines of details, and tells whether it means something. What programs
// write into the kernel's log is no word of the kernel.
func parseKernel(list []pattern, record string, booted time.Time) (KernelEvent, bool) {
	head, text, ok := strings.Cut(record, ";")
	f := strings.Split(head, ",")
	if !ok || len(f) < 3 {
		return KernelEvent{}, false
	}
	pri, err1 := strconv.ParseUint(f[0], 10, 16)
	usec, err2 := strconv.ParseInt(f[2], 10, 64)
	if errors.Join(err1, err2) != nil || pri>>3 != 0 || usec < 0 || usec > int64(100*365*24*time.Hour/time.Microsecond) {
		return KernelEvent{}, false
	}
	text = strings.TrimSuffix(text, "\n")
	for _, p := range list {
		if !strings.Contains(text, p.hint) {
			continue
		}
		m := p.re.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		e := KernelEvent{Kind: p.kind, Text: printable(text), At: booted.Add(time.Duration(usec) * time.Microsecond)}
		if len(m) > 1 {
			e.Subject = printable(m[1])
		}
		return e, true
	}
	return KernelEvent{}, false
}

// printable keeps a message short and fit to be shown.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return strings.TrimSpace(s)
}

// Uptime is for how long the kernel runs, by /proc/uptime.
func (r Root) Uptime() (time.Duration, error) {
	s, err := r.text("proc/uptime")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(s, " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil || !(v >= 0 && v < 100*365*24*3600) {
		return 0, fmt.Errorf("/proc/uptime: %q is no time", s)
	}
	return time.Duration(v * float64(time.Second)), nil
}

// Has tells whether the kernel knows a disk of that name.
func (r Root) Has(disk string) bool { return disk != "" && r.exists("sys/block", disk) }
