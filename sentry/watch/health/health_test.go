package health

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/watch/health/reading"
)

// TestHealthy: a server in good health has no finding, over a working day, and tells numbers of everything.
func TestHealthy(t *testing.T) {
	r := newRig(t)
	r.pass(8 * time.Hour)
	if got := r.ids(); len(got) > 0 {
		t.Errorf("findings %v; want none: %+v", got, r.w.Status().Findings)
	}
	s := r.w.Status()
	n := s.Numbers
	if n.Memory == nil || n.Load == nil || n.Pressure == nil || len(n.Filesystems) != 2 || len(n.Arrays) != 1 || len(n.Sensors) < 5 || len(n.ECC) != 2 || len(n.Disks) != 3 || len(n.NICs) != 2 || len(n.Certificates) != 1 || n.LogBytes == 0 {
		t.Errorf("numbers are missing: %+v", n)
	}
	if len(s.Skipped) != 1 || s.Skipped["esp"] == "" { // the made-up server has no such device
		t.Errorf("skipped %v; want the boot partition alone", s.Skipped)
	}
	data, err := json.Marshal(s)
	if err != nil || len(data) > 6000 {
		t.Errorf("the status takes %d bytes, %v; it goes to the other servers every few seconds", len(data), err)
	}
}

// fault is something that goes wrong on a server, and how it must be told.
type fault struct {
	name   string
	change func(r *rig)
	wait   time.Duration
	want   string   // severity and ID, all that is told
	words  []string // parts of what is told
	mend   func(r *rig)
	after  time.Duration // so long after it was mended nothing is told any more; 0: not tried
}

func faults() []fault {
	smart := func(dev, file string) func(*rig) { return func(r *rig) { r.smart[dev] = file } }
	file := func(path, text string) func(*rig) { return func(r *rig) { r.set(path, text) } }
	free := func(dir string, n uint64) func(*rig) {
		return func(r *rig) { s := r.space[dir]; s.Free = n; r.space[dir] = s }
	}
	meminfo := func(available int) string {
		return fmt.Sprintf("MemTotal: 16384000 kB\nMemAvailable: %d kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n", available)
	}
	const mounts = "35 22 9:127 / /run/atlas/set %s,noatime - ext4 /dev/md127 %s\n30 22 259:4 / /run/atlas/state rw,noatime - ext4 /dev/nvme0n1p4 rw\n"
	return []fault{
		{"memory is short", file("proc/meminfo", meminfo(1000000)), 10 * time.Minute, "warning health-memory", []string{"976 MB of 15 GB", "atlas service list"}, file("proc/meminfo", meminfo(9000000)), 10 * time.Minute},
		{"memory is at its end", file("proc/meminfo", meminfo(300000)), 5 * time.Minute, "critical health-memory", []string{"292 MB"}, file("proc/meminfo", meminfo(9000000)), 10 * time.Minute},
		{"memory for a moment", file("proc/meminfo", meminfo(300000)), time.Minute, "", nil, nil, 0},
		{"a killed service explained by memory", func(r *rig) {
			r.set("proc/meminfo", meminfo(300000))
			r.kernel("Out of memory: Killed process 412 (mariadbd) total-vm:1kB, anon-rss:1kB")
		}, 5 * time.Minute, "critical health-memory", []string{"Probably from the same cause", "“mariadbd” once"}, nil, 0},
		{"a service killed in its group", func(r *rig) { r.kernel("Memory cgroup out of memory: Killed process 7 (php-fpm8.4) total-vm:1kB") }, time.Minute, "warning health-kernel-oom-php-fpm8-4", []string{"“php-fpm8.4”"}, func(*rig) {}, 25 * time.Hour},
		{"waits for disks", file("proc/pressure/io", "some avg10=0 avg60=0 avg300=77.00 total=1\nfull avg10=0 avg60=0 avg300=70.00 total=1\n"), 15 * time.Minute, "warning health-io-stall", []string{"77 %"}, file("proc/pressure/io", "some avg10=0 avg60=0 avg300=7.00 total=1\n"), 15 * time.Minute},
		{"load explained by the processor", func(r *rig) {
			r.set("proc/pressure/cpu", "some avg10=0 avg60=0 avg300=95.00 total=1\n")
			r.set("proc/loadavg", "40 40 40 1/2 3")
		}, 15 * time.Minute, "warning health-cpu-stall", []string{"very many programs"}, nil, 0},
		{"the set is nearly full", free(setDir, 20*gib), 2 * time.Minute, "warning health-space-set", []string{"The disk set is nearly full: 20 GB of 1000 GB"}, free(setDir, 600*gib), 3 * time.Minute},
		{"the set is full", free(setDir, gib), 2 * time.Minute, "critical health-space-set", []string{"1.0 GB"}, free(setDir, 600*gib), 3 * time.Minute},
		{"no inodes", func(r *rig) { s := r.space[setDir]; s.InodesFree = 5; r.space[setDir] = s }, 2 * time.Minute, "critical health-inodes-set", []string{"5 more files"}, nil, 0},
		{"the state partition is full", free(stateDir, 1<<20), 2 * time.Minute, "critical health-space-state", []string{"The system disk's own partition"}, nil, 0},
		{"read-only after an I/O error", func(r *rig) {
			r.set("proc/self/mountinfo", fmt.Sprintf(mounts, "rw", "ro"))
			r.kernel("EXT4-fs error (device md127): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0")
		}, time.Minute, "critical health-kernel-fs-md127", []string{"found damaged", "The kernel: “EXT4-fs error", "can only be read"}, nil, 0},
		{"read-only mount", file("proc/self/mountinfo", fmt.Sprintf(mounts, "ro", "rw")), time.Minute, "critical health-read-only-set", nil, file("proc/self/mountinfo", fmt.Sprintf(mounts, "rw", "rw")), time.Minute},
		{"the filesystem counts errors", file("sys/fs/ext4/md127/errors_count", "3\n"), time.Minute, "warning health-damaged-set", []string{"3 errors"}, nil, 0},
		{"a check found differences", file("sys/block/md127/md/mismatch_cnt", "128\n"), time.Minute, "warning health-mismatch-md127", []string{"128 places"}, file("sys/block/md127/md/mismatch_cnt", "0\n"), time.Minute},
		{"differences while it is rebuilt", func(r *rig) {
			r.set("sys/block/md127/md/mismatch_cnt", "128\n")
			r.set("sys/block/md127/md/sync_action", "recover\n")
		}, time.Minute, "", nil, nil, 0},
		{"a rebuild that crawls", func(r *rig) {
			r.set("sys/block/md127/md/sync_action", "recover\n")
			r.set("sys/block/md127/md/sync_completed", "1000 / 7814037168\n")
			r.set("sys/block/md127/md/sync_speed", "5000\n")
		}, time.Hour, "warning health-sync-slow-md127", []string{"9 days", "4 MB a second"}, nil, 0},
		{"a hot processor", file("sys/class/hwmon/hwmon0/temp1_input", "95000\n"), 5 * time.Minute, "warning health-hot-coretemp-coretemp-0-temp1", []string{"Package id 0", "95 °C"}, file("sys/class/hwmon/hwmon0/temp1_input", "60000\n"), 5 * time.Minute},
		{"a processor near its end", file("sys/class/hwmon/hwmon0/temp1_input", "99500\n"), 5 * time.Minute, "critical health-hot-coretemp-coretemp-0-temp1", nil, nil, 0},
		{"a hot NVMe disk, told by two", func(r *rig) {
			data, _ := os.ReadFile("testdata/made-up-smart/good-nvme.json")
			r.smart["/dev/nvme0n1"] = strings.Replace(string(data), `"temperature":{"current":41}`, `"temperature":{"current":82}`, 1)
			r.set("sys/class/hwmon/hwmon3/name", "nvme\n")
			r.set("sys/class/hwmon/hwmon3/temp1_input", "82000\n")
			r.set("sys/class/hwmon/hwmon3/temp1_label", "Composite\n")
			r.set("sys/class/nvme/nvme0/model", "made up\n")
			if err := os.Symlink("../../nvme/nvme0", filepath.Join(r.root, "sys/class/hwmon/hwmon3/device")); err != nil {
				r.t.Fatal(err)
			}
		}, 15 * time.Minute, "warning health-disk-hot-nvme0n1", []string{"The disk inside the server (nvme0n1, serial N-1) is too hot: 82 °C", "same cause"}, nil, 0},
		{"a fan is why it is hot", func(r *rig) {
			r.pass(time.Minute)
			r.set("sys/class/hwmon/hwmon1/fan1_input", "0\n")
			r.set("sys/class/hwmon/hwmon0/temp1_input", "99500\n")
		}, 10 * time.Minute, "critical health-fan-nct6775-nct6775-656-fan1", []string{"Fan “CPU fan”", "stands still", "Package id 0 is 100 °C hot"}, nil, 0},
		{"a voltage drops", func(r *rig) {
			r.pass(time.Minute)
			r.set("sys/class/hwmon/hwmon1/in1_input", "10900\n")
		}, 10 * time.Minute, "warning health-voltage-nct6775-nct6775-656-in1", []string{"“+12V”", "10.90 V"}, nil, 0},
		{"a power supply without power", func(r *rig) {
			r.set("sys/class/hwmon/hwmon2/in1_input", "0\n")
			r.set("sys/class/hwmon/hwmon2/in1_alarm", "1\n")
		}, 5 * time.Minute, "warning health-supply-pmbus-psu1-supply", []string{"power supply psu1", "same cause"}, nil, 0},
		{"mended memory errors", func(r *rig) {
			r.pass(time.Minute)
			r.set("sys/devices/system/edac/mc/mc0/dimm1/dimm_ce_count", "40\n")
			r.set("sys/devices/system/edac/mc/mc0/ce_count", "40\n")
		}, time.Minute, "warning health-ecc-dimm-a2", []string{"DIMM_A2"}, func(*rig) {}, 25 * time.Hour},
		{"one mended memory error", func(r *rig) {
			r.pass(time.Minute)
			r.set("sys/devices/system/edac/mc/mc0/dimm1/dimm_ce_count", "1\n")
		}, time.Minute, "", nil, nil, 0},
		{"memory that cannot be mended, and the processor tells too", func(r *rig) {
			r.set("sys/devices/system/edac/mc/mc0/dimm0/dimm_ue_count", "1\n")
			r.kernel("mce: [Hardware Error]: CPU 0: Machine Check Exception: 5 Bank 7: be00 Uncorrected error")
		}, time.Minute, "critical health-ecc-dimm-a1", []string{"DIMM_A1", "cannot be mended"}, nil, 0},
		{"a failing disk and what the kernel cannot read from it", func(r *rig) {
			r.smart["/dev/sdb"] = "failing-ata.json"
			r.kernel("blk_update_request: I/O error, dev sdb, sector 12345 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0")
			r.kernel("critical medium error, dev sdb, sector 12346 op 0x0:(READ)")
		}, time.Minute, "critical health-disk-sdb", []string{"The disk in bay 2 (sdb, serial S-2) is failing", "17 places cannot be read", "self-test", "reading or writing failed twice", "pull the disk from bay 2"}, nil, 0},
		{"a failing NVMe disk", smart("/dev/nvme0n1", "failing-nvme.json"), time.Minute, "critical health-disk-nvme0n1", []string{"The disk inside the server (nvme0n1, serial N-1)", "unreliable", "103 %", "swap to the other server"}, smart("/dev/nvme0n1", "good-nvme.json"), 45 * time.Minute},
		{"a disk falls asleep while it fails", func(r *rig) {
			r.smart["/dev/sdb"] = "failing-ata.json"
			r.pass(time.Minute)
			r.smart["/dev/sdb"] = "asleep.json"
		}, 3 * time.Hour, "critical health-disk-sdb", []string{"17 places"}, smart("/dev/sdb", "good-ata.json"), time.Hour},
		{"a disk that sleeps", smart("/dev/sdb", "asleep.json"), time.Hour, "", nil, nil, 0},
		{"a disk that does not answer", smart("/dev/sdb", "no-such-device.json"), 25 * time.Minute, "warning health-disk-silent", []string{"bay 2", "No such device"}, smart("/dev/sdb", "good-ata.json"), 15 * time.Minute},
		{"smartctl talks nonsense", smart("/dev/sdb", "{"), 25 * time.Minute, "warning health-disk-silent", nil, nil, 0},
		{"a worn SAS disk", smart("/dev/sda", "sas.json"), time.Minute, "warning health-disk-sda", []string{"42 bad places", "3 times data could not be read"}, nil, 0},
		{"a disk's cable", func(r *rig) {
			r.pass(time.Minute)
			data, _ := os.ReadFile("testdata/made-up-smart/good-ata.json")
			r.smart["/dev/sda"] = strings.Replace(string(data), `"value":3,"string":"3"`, `"value":90,"string":"90"`, 1)
		}, 15 * time.Minute, "warning health-disk-cable-sda", []string{"bay 1"}, nil, 0},
		{"the system disk vanishes", func(r *rig) { _ = os.RemoveAll(filepath.Join(r.root, "sys/block/nvme0n1")) }, 5 * time.Minute, "critical health-disk-gone-nvme0n1", []string{"has vanished"}, nil, 0},
		{"a member is pulled: init tells", func(r *rig) {
			r.kernel("I/O error, dev sdb, sector 8")
			_ = os.RemoveAll(filepath.Join(r.root, "sys/block/sdb"))
		}, 5 * time.Minute, "", nil, nil, 0},
		{"I/O errors end with a new disk", func(r *rig) { r.kernel("I/O error, dev sdb, sector 8") }, time.Minute, "warning health-kernel-io-sdb", []string{"bay 2"}, func(r *rig) { r.kernel("sd 2:0:0:0: [sdb] Attached SCSI disk") }, time.Minute},
		{"a program writes into the kernel's log", func(r *rig) {
			r.set("dev/kmsg", "12,1,100,-;I/O error, dev sda, sector 8\n")
		}, time.Minute, "", nil, nil, 0},
		{"a link comes and goes", func(r *rig) {
			r.pass(time.Minute)
			r.set("sys/class/net/eth1/carrier_changes", "10\n")
			for range 4 {
				r.kernel("igb 0000:03:00.0 eth1: igb: eth1 NIC Link is Down")
			}
		}, time.Minute, "warning health-port-flaps-eth1", []string{"4 times in the last hour", "the kernel tells so too"}, func(*rig) {}, 3 * time.Hour},
		{"no link", func(r *rig) {
			r.set("sys/class/net/eth1/carrier", "0\n")
			r.set("sys/class/net/eth1/speed", "-1\n")
		}, 5 * time.Minute, "warning health-link-eth1", []string{"port eth1"}, func(r *rig) {
			r.set("sys/class/net/eth1/carrier", "1\n")
			r.set("sys/class/net/eth1/speed", "1000\n")
		}, 5 * time.Minute},
		{"half duplex and slow", func(r *rig) {
			r.set("sys/class/net/eth0/duplex", "half\n")
			r.set("sys/class/net/eth0/speed", "100\n")
		}, 5 * time.Minute, "warning health-duplex-eth0", []string{"100 instead of 1000"}, nil, 0},
		{"damaged packets", func(r *rig) {
			r.pass(time.Minute)
			r.set("sys/class/net/eth0/statistics/rx_errors", "5000\n")
		}, time.Minute, "warning health-port-errors-eth0", []string{"5000 damaged packets"}, func(*rig) {}, time.Hour},
		{"a certificate ends", func(r *rig) { r.now = time.Date(2036, 11, 10, 0, 0, 0, 0, time.UTC); r.booted = r.now }, time.Minute, "warning health-certificate-site-crt", []string{"office.miller.example", "20 November 2036", "atlas-certificate renew"}, nil, 0},
		{"a certificate has ended", func(r *rig) { r.now = time.Date(2036, 12, 10, 0, 0, 0, 0, time.UTC); r.booted = r.now }, time.Minute, "critical health-certificate-site-crt", []string{"has ended"}, nil, 0},
		{"a certificate that is none", file("etc/ssl/atlas/site.crt", "oops"), time.Minute, "warning health-certificate-site-crt", []string{"cannot be read"}, nil, 0},
		{"a log grows", func(r *rig) {
			r.pass(time.Minute)
			if err := os.Truncate(filepath.Join(r.root, "var/log/atlas/web.log"), 400<<20); err != nil {
				r.t.Fatal(err)
			}
		}, 15 * time.Minute, "warning health-log-atlas-web-log", []string{"/var/log/atlas/web.log is 400 MB large and has grown by 399 MB"}, func(*rig) {}, 3 * time.Hour},
		{"meminfo without sense", file("proc/meminfo", "MemTotal: lots\n"), 5 * time.Minute, "warning health-unread-memory", []string{"cannot be looked at"}, file("proc/meminfo", meminfo(9000000)), time.Minute},
	}
}

// TestFaults: each fault of a made-up server ends as one finding with the right words, and only that, and ends when it is mended.
func TestFaults(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			r := newRig(t)
			f.change(r)
			r.pass(f.wait)
			got := r.w.Status().Findings
			if ids := strings.Join(r.ids(), ", "); ids != f.want {
				t.Fatalf("told %q; want %q: %+v", ids, f.want, got)
			}
			for _, w := range f.words {
				if !strings.Contains(got[0].What+" "+got[0].Next, w) {
					t.Errorf("%q does not say %q", got[0].What+" "+got[0].Next, w)
				}
			}
			for _, g := range got {
				if g.Next == "" || g.Where == "" && !strings.HasPrefix(g.ID, "health-unread") || g.Since.IsZero() || !strings.HasSuffix(g.What, ".") && !strings.HasSuffix(g.What, "”.") {
					t.Errorf("not whole: %+v", g)
				}
			}
			if f.after == 0 {
				return
			}
			f.mend(r)
			r.pass(f.after)
			if ids := r.ids(); len(ids) > 0 {
				t.Errorf("mended, but %v is told", ids)
			}
		})
	}
}

// TestNoFlapping: numbers that go to and fro around a limit make one finding that stays.
func TestNoFlapping(t *testing.T) {
	r := newRig(t)
	changes, was := 0, ""
	for i := range 600 {
		s := r.space[setDir]
		s.Free = uint64(50*gib - gib)
		if i%3 == 2 {
			s.Free = uint64(50*gib + gib)
		}
		r.space[setDir] = s
		r.set("sys/class/hwmon/hwmon0/temp1_input", fmt.Sprint(93000-i%4/3*4000))
		r.pass(cheap)
		if now := strings.Join(r.ids(), " "); now != was {
			changes, was = changes+1, now
		}
	}
	if changes > 3 || was != "warning health-hot-coretemp-coretemp-0-temp1 warning health-space-set" {
		t.Errorf("what is told has changed %d times in five hours; last %q", changes, was)
	}
}

// TestForecast: a set that fills steadily is told days before, with the day.
func TestForecast(t *testing.T) {
	r := newRig(t)
	for range 4 * 60 { // 4 hours, 2 GiB each
		s := r.space[setDir]
		s.Free -= 2 * gib / 60
		r.space[setDir] = s
		r.pass(time.Minute)
	}
	if ids := r.ids(); len(ids) != 0 {
		t.Errorf("12 days before the end %v is told; want nothing yet", ids)
	}
	for range 6 * 60 { // 8 GiB an hour
		s := r.space[setDir]
		s.Free -= 8 * gib / 60
		r.space[setDir] = s
		r.pass(time.Minute)
	}
	f, ok := r.found("health-fills-set")
	if !ok || f.Severity != "warning" || !strings.Contains(f.What, "November") {
		t.Errorf("told %v, %+v; want the day on which the set is full", r.ids(), f)
	}
	if at := r.w.Status().Numbers.Filesystems[1].FullAt; at.Before(r.now.Add(48*time.Hour)) || at.After(r.now.Add(5*24*time.Hour)) {
		t.Errorf("full at %v, now is %v", at, r.now)
	}
}

// TestNamespaceLab: what the lab's servers have of their host is no word of theirs.
func TestNamespaceLab(t *testing.T) {
	r := newRig(t)
	r.facts.Kind = "namespace"
	r.smart["/dev/sda"] = "failing-ata.json"
	r.set("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 1 kB\n")
	r.kernel("I/O error, dev sdb, sector 8")
	r.space[setDir] = reading.Space{Size: 100 * gib, Free: gib}
	r.space[stateDir] = reading.Space{Size: 100 * gib, Free: 9 * gib} // the host's, and still enough
	r.pass(time.Hour)
	if got := strings.Join(r.ids(), " "); got != "critical health-space-set" {
		t.Errorf("told %q; want what is the server's own", got)
	}
	if s := r.w.Status().Skipped; s["kernel"] == "" || s["memory"] == "" || s["disks"] == "" {
		t.Errorf("skipped %v", s)
	}
}

// TestUnknownKind: before init has answered, nothing of the kernel's is judged, and it is looked at as soon as the kind is known.
func TestUnknownKind(t *testing.T) {
	r := newRig(t)
	r.facts = Facts{}
	r.set("sys/devices/system/edac/mc/mc0/dimm0/dimm_ue_count", "1\n")
	r.pass(5 * time.Minute)
	if got := r.ids(); len(got) != 0 || len(r.w.Status().Numbers.ECC) > 0 {
		t.Errorf("told %v", got)
	}
	r.facts.Kind = hardware
	r.pass(time.Minute)
	if _, ok := r.found("health-ecc-dimm-a1"); !ok {
		t.Errorf("told %v; want the memory module", r.ids())
	}
}

// TestSmallestImage has no smartctl: that is told once, and is no finding.
func TestSmallestImage(t *testing.T) {
	r := newRig(t)
	r.noSmart = true
	r.pass(time.Hour)
	if got := r.ids(); len(got) != 0 || !strings.Contains(r.w.Status().Skipped["disks"], "smartctl") {
		t.Errorf("told %v, skipped %v", got, r.w.Status().Skipped)
	}
}

// TestDisksAreAskedRarely: every ten minutes each.
func TestDisksAreAskedRarely(t *testing.T) {
	r := newRig(t)
	r.pass(time.Hour)
	if want := 3 * 6; r.asked < want-3 || r.asked > want {
		t.Errorf("smartctl ran %d times in an hour for three disks; want %d", r.asked, want)
	}
}

// TestStuck: a look that hangs holds up no other, and is told.
func TestStuck(t *testing.T) {
	r := newRig(t)
	for _, s := range r.w.sources {
		if s.name == "filesystems" {
			s.busy = r.now
		}
	}
	r.pass(10 * time.Minute)
	f, ok := r.found("health-stuck-filesystems")
	if !ok || f.Severity != "critical" || r.w.Status().Numbers.Memory == nil {
		t.Errorf("told %v", r.ids())
	}
}

// TestCost: what a look at everything that is looked at often costs.
func TestCost(t *testing.T) {
	r := newRig(t)
	r.pass(5 * time.Minute)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	const looks = 100
	for range looks {
		r.pass(cheap)
	}
	took := time.Since(start) / looks
	runtime.ReadMemStats(&after)
	t.Logf("%v and %d KB allocated a look, every %v", took, (after.TotalAlloc-before.TotalAlloc)/looks>>10, cheap)
	if took > 300*time.Millisecond {
		t.Errorf("a look takes %v", took)
	}
}
