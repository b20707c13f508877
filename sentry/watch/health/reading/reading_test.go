package reading

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// madeUp is a server that was written by hand after the kernel's documentation.
const madeUp = Root("../testdata/made-up-server")

func TestMemory(t *testing.T) {
	got, err := madeUp.Memory()
	if want := (Memory{16384000 << 10, 9216000 << 10, 2048000 << 10, 2048000 << 10}); err != nil || got != want {
		t.Errorf("Memory() = %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "MemTotal: 5 kB", "MemTotal: x kB\nMemAvailable: 1 kB", "MemTotal: 1 kB\nMemAvailable: 2 kB", "MemTotal: 99999999999999999999 kB\nMemAvailable: 2 kB", "MemTotal: 0 kB\nMemAvailable: 0 kB"} {
		if m, err := parseMemory(bad); err == nil {
			t.Errorf("parseMemory(%q) = %+v; want an error", bad, m)
		}
	}
}

func TestLoad(t *testing.T) {
	got, err := madeUp.Load()
	if want := (Load{0.42, 0.38, 0.31, 2}); err != nil || got != want {
		t.Errorf("Load() = %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 2", "1 x 3 4", "NaN 1 1", "-1 1 1"} {
		if l, err := parseLoad(bad, "cpu0 1"); err == nil {
			t.Errorf("parseLoad(%q) = %+v; want an error", bad, l)
		}
	}
	if _, err := parseLoad("1 1 1", "cpu 1 2"); err == nil {
		t.Error("a server without a processor has a load")
	}
}

func TestPressure(t *testing.T) {
	got, err := madeUp.Pressure()
	if want := (Pressure{1.5, 1.5, 0, 1.5, 0}); err != nil || got != want {
		t.Errorf("Pressure() = %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "some avg300=x", "some avg300=101", "full avg300=3", "some avg300=NaN"} {
		if s, f, err := parsePressure(bad); err == nil {
			t.Errorf("parsePressure(%q) = %v, %v; want an error", bad, s, f)
		}
	}
	if _, err := Root(t.TempDir()).Pressure(); !errors.Is(err, ErrAbsent) {
		t.Errorf("an older kernel: %v; want ErrAbsent", err)
	}
}

func TestMounts(t *testing.T) {
	got, err := madeUp.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	if m, want := got["/run/atlas/set"], (Mount{"/run/atlas/set", "ext4", "/dev/md127", "9:127", false}); m != want {
		t.Errorf("the set is %+v; want %+v", m, want)
	}
	if !got["/"].ReadOnly {
		t.Error("the root is not read-only")
	}
	for line, want := range map[string]bool{
		"1 2 8:1 / /x rw shared:1 master:2 - ext4 /dev/sda1 rw,errors=remount-ro": false,
		"1 2 8:1 / /x rw - ext4 /dev/sda1 ro":                                     true,
		"1 2 8:1 / /x ro,noatime - ext4 /dev/sda1 rw":                             true,
	} {
		if m := parseMounts(line)["/x"]; m.ReadOnly != want || m.Type != "ext4" {
			t.Errorf("%s: %+v; want read-only %v", line, m, want)
		}
	}
	if m := parseMounts("short\n1 2 3 - \n1 2 8:1 / /a\\040b rw - ext4 /dev/sda1 rw"); len(m) != 1 || m["/a b"].Point == "" {
		t.Errorf("malformed lines: %+v", m)
	}
	if n := madeUp.Ext4Errors(Mount{Type: "ext4", Source: "/dev/../../etc"}); n != 0 {
		t.Errorf("a strange source counts %d errors", n)
	}
}

// fat makes a FAT32 filesystem with clusters of one sector, of which used are taken.
func fat(clusters, used int) []byte {
	perFAT := (clusters+2)*4/512 + 1
	b := make([]byte, (32+2*perFAT+clusters)*512)
	le := binary.LittleEndian
	le.PutUint16(b[11:], 512)
	b[13] = 1
	le.PutUint16(b[14:], 32)
	b[16] = 2
	le.PutUint32(b[32:], uint32(32+2*perFAT+clusters))
	le.PutUint32(b[36:], uint32(perFAT))
	b[510], b[511] = 0x55, 0xaa
	for i := range used + 2 {
		le.PutUint32(b[32*512+i*4:], 0x0fffffff)
	}
	return b
}

func TestFAT(t *testing.T) {
	root := t.TempDir()
	dev := filepath.Join(root, "dev", "sda1")
	write := func(b []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(dev), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dev, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Root(root).FAT("/dev/sda1"); !errors.Is(err, ErrAbsent) {
		t.Errorf("no device: %v", err)
	}
	write(fat(70000, 1234))
	got, err := Root(root).FAT("/dev/sda1")
	if want := (Space{Size: 70000 * 512, Free: (70000 - 1234) * 512}); err != nil || got != want {
		t.Errorf("FAT() = %+v, %v; want %+v", got, err, want)
	}
	for name, b := range map[string][]byte{"empty": nil, "zeros": make([]byte, 4096), "a table too small": func() []byte {
		b := fat(1000, 0)
		binary.LittleEndian.PutUint32(b[36:], 1)
		return b
	}()} {
		write(b)
		if got, err := Root(root).FAT("/dev/sda1"); err == nil {
			t.Errorf("%s: %+v; want an error", name, got)
		}
	}
	if p, err := madeUp.Partition("atlas-esp"); p != "/dev/sda1" || err != nil {
		t.Errorf("Partition(atlas-esp) = %s, %v", p, err)
	}
	if _, err := madeUp.Partition("other"); !errors.Is(err, ErrAbsent) {
		t.Errorf("Partition(other): %v", err)
	}
}

func TestProgress(t *testing.T) {
	for _, c := range []struct {
		completed string
		speed     uint64
		percent   int
		left      time.Duration
	}{
		{"1000 / 4000", 50, 25, 30 * time.Second},
		{"none", 50, 0, 0},
		{"4000 / 1000", 50, 0, 0},
		{"0 / 0", 1, 0, 0},
		{"1 / x", 1, 0, 0},
		{"0 / 200000000000000", 1, 0, maxLeft},
		{"1000 / 4000", 0, 25, 0},
	} {
		p, _, left := progress(c.completed, c.speed)
		if p != c.percent || left != c.left {
			t.Errorf("progress(%q, %d) = %d %%, %v; want %d %%, %v", c.completed, c.speed, p, left, c.percent, c.left)
		}
	}
	if got := madeUp.Arrays(); len(got) != 1 || got[0] != (Array{Name: "md127", Level: "raid1", Action: "idle", Last: "check"}) {
		t.Errorf("Arrays() = %+v", got)
	}
}

func TestSensors(t *testing.T) {
	got := map[string]Sensor{}
	for _, s := range madeUp.Sensors() {
		got[s.ID] = s
	}
	want := Sensor{"coretemp-coretemp.0/temp1", "coretemp", "Package id 0", Temperature, 48, 0, 80, 100, false, false}
	if d := cmp.Diff(want, got[want.ID]); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if _, ok := got["nct6775-nct6775.656/temp3"]; ok {
		t.Error("a sensor that is not connected is told")
	}
	if s := got["pmbus-psu1/supply"]; s.Kind != Supply || s.Value != 1 || s.Alarm {
		t.Errorf("the power supply is %+v", s)
	}
	if s := got["nct6775-nct6775.656/fan1"]; s.Name != "CPU fan" || s.Value != 1200 || s.Min != 300 {
		t.Errorf("the fan is %+v", s)
	}
	// Numbers that are none, and directories where files should be.
	root := t.TempDir()
	for p, text := range map[string]string{"name": "coretemp", "temp1_input": "hot", "temp2_input": "999999999999", "temp3_input": "50000", "temp3_crit": "x", "fan1_input": "-5", "in1_input": ""} {
		p = filepath.Join(root, "sys/class/hwmon/hwmon0", p)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if list := Root(root).Sensors(); len(list) != 1 || list[0].Value != 50 || list[0].Crit != 0 {
		t.Errorf("malformed: %+v", list)
	}
}

func TestECC(t *testing.T) {
	list, err := madeUp.ECC()
	if err != nil || len(list) != 2 || list[0].Name != "DIMM_A1" {
		t.Errorf("ECC() = %+v, %v", list, err)
	}
	if _, err := Root(t.TempDir()).ECC(); !errors.Is(err, ErrAbsent) {
		t.Errorf("a server without ECC: %v", err)
	}
}

func TestSMART(t *testing.T) {
	for file, want := range map[string]SMART{
		"good-ata.json":     {Temperature: 34, Hours: 12034, CRC: 3},
		"failing-ata.json":  {Failing: true, Temperature: 34, Hours: 12034, Pending: 17, CRC: 3, SelfTest: "Completed: read failure"},
		"asleep.json":       {Asleep: true},
		"virtual.json":      {None: true},
		"good-nvme.json":    {Temperature: 41, Hours: 3456, Wear: 4, Spare: 100, SpareLow: 10, TempWarn: 81, TempLimit: 85},
		"failing-nvme.json": {Failing: true, Temperature: 41, Hours: 3456, Wear: 103, Spare: 100, SpareLow: 10, TempWarn: 81, TempLimit: 85, Warning: 4, Media: 12},
		"sas.json":          {Temperature: 30, Reallocated: 42, Uncorrectable: 3},
	} {
		data, err := os.ReadFile("../testdata/made-up-smart/" + file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSMART(data)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v, -want +got\n%s", file, err, d)
		}
	}
	data, _ := os.ReadFile("../testdata/made-up-smart/no-such-device.json")
	if _, err := ParseSMART(data); err == nil || !strings.Contains(err.Error(), "No such device") {
		t.Errorf("no such device: %v", err)
	}
	for _, bad := range []string{"", "{}", "[]", "smartctl: command failed", `{"smartctl":5}`} {
		if s, err := ParseSMART([]byte(bad)); err == nil {
			t.Errorf("ParseSMART(%q) = %+v; want an error", bad, s)
		}
	}
}

func TestKernel(t *testing.T) {
	list := patterns()
	for text, want := range map[string]string{
		"blk_update_request: I/O error, dev sdb, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0": "io sdb",
		"I/O error, dev nvme0n1, sector 2048 op 0x0:(READ) flags 0x0":                                         "io nvme0n1",
		"critical medium error, dev sda, sector 99 op 0x0:(READ)":                                             "io sda",
		"Buffer I/O error on dev sdc1, logical block 0, async page read":                                      "io sdc",
		"Buffer I/O error on dev dm-0, logical block 0, async page read":                                      "",
		"I/O error, dev loop0, sector 2":                                                                      "",
		"ata3.00: exception Emask 0x10 SAct 0x0 SErr 0x4050002 action 0xe frozen":                             "reset ata3",
		"ata3: hard resetting link":                                                                           "reset ata3",
		"nvme nvme0: I/O 12 QID 3 timeout, aborting":                                                          "reset nvme0",
		"nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10":                        "reset nvme0",
		"EXT4-fs error (device md127): ext4_lookup:1855: inode #2: comm x: deleted inode referenced: 12":      "fs md127",
		"Aborting journal on device nvme0n1p4-8.":                                                             "fs nvme0n1p4",
		"Aborting journal on device loop2-8.":                                                                 "",
		"EXT4-fs (md127): mounted filesystem":                                                                 "",
		"Out of memory: Killed process 1234 (mariadbd) total-vm:1kB":                                          "oom mariadbd",
		"Memory cgroup out of memory: Killed process 1234 (smbd) total-vm:1kB":                                "oom smbd",
		"e1000e 0000:00:1f.6 eth0: NIC Link is Down":                                                          "link eth0",
		"r8169 0000:02:00.0 enp2s0: Link is Down":                                                             "link enp2s0",
		"igb 0000:01:00.0 enp1s0f0: igb: enp1s0f0 NIC Link is Down":                                           "link enp1s0f0",
		"tg3 0000:02:00.0 eth1: Link is down":                                                                 "link eth1",
		"e1000e 0000:00:1f.6 eth0: NIC Link is Up 1000 Mbps Full Duplex":                                      "",
		"mce: [Hardware Error]: Machine check events logged":                                                  "machine ",
		"{1}[Hardware Error]: event severity: fatal":                                                          "fatal ",
		"CPU0: Core temperature above threshold, cpu clock throttled (total events = 1)":                      "throttled ",
		"INFO: task smbd:412 blocked for more than 120 seconds.":                                              "hung smbd",
		"pcieport 0000:00:1c.0: AER: Uncorrected (Fatal) error received: 0000:03:00.0":                        "bus 0000:03:00.0",
		"sd 2:0:0:0: [sdb] Attached SCSI disk":                                                                "attached sdb",
		"nvme nvme1: pci function 0000:04:00.0":                                                               "attached nvme1",
	} {
		e, ok := parseKernel(list, "3,7,5000000,-;"+text+"\n", time.Time{})
		got := ""
		if ok {
			got = e.Kind + " " + e.Subject
		}
		if got != want {
			t.Errorf("%q is %q; want %q", text, got, want)
		}
	}
	for _, bad := range []string{"", ";", "x,y,z;I/O error, dev sda, sector 1", "3,1;I/O error, dev sda", "3,1,-5,-;I/O error, dev sda,", " SUBSYSTEM=I/O error, dev sda"} {
		if e, ok := parseKernel(list, bad, time.Time{}); ok {
			t.Errorf("%q is %+v; want nothing", bad, e)
		}
	}
}

func TestNICs(t *testing.T) {
	got := madeUp.NICs()
	want := NIC{Name: "eth0", Up: true, Link: true, Speed: 1000, Duplex: "full", Changes: 2, Packets: 2000000}
	if len(got) != 2 || got[0] != want {
		t.Errorf("NICs() = %+v; want eth0 as %+v, eth1, and not lo", got, want)
	}
}

func TestCertificates(t *testing.T) {
	list, bad := madeUp.Certificates("etc/ssl/atlas")
	if len(bad) > 0 || len(list) != 1 || list[0].Name != "office.miller.example" || !list[0].Own || list[0].Path != "/etc/ssl/atlas/site.crt" || list[0].Until.Year() != 2036 {
		t.Errorf("Certificates() = %+v, %v", list, bad)
	}
	for _, s := range []string{"", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if c, err := parseCertificate(s); err == nil {
			t.Errorf("parseCertificate(%q) = %+v", s, c)
		}
	}
}

func TestSizes(t *testing.T) {
	if got := madeUp.Sizes("var/log"); len(got) != 2 || got["/var/log/atlas/web.log"] != 2 {
		t.Errorf("Sizes() = %v", got)
	}
}

// TestHost: the readers take what the machine that runs this test tells, whatever it is.
func TestHost(t *testing.T) {
	var r Root
	if _, err := r.Memory(); err != nil {
		t.Error(err)
	}
	if _, err := r.Load(); err != nil {
		t.Error(err)
	}
	if _, err := r.Pressure(); err != nil && !errors.Is(err, ErrAbsent) {
		t.Error(err)
	}
	if m, err := r.Mounts(); err != nil || m["/"].Point == "" {
		t.Errorf("mounts %v, %v", m, err)
	}
	if s, err := Statfs("/"); err != nil || s.Size == 0 || s.Free > s.Size {
		t.Errorf("Statfs(/) = %+v, %v", s, err)
	}
	if up, err := r.Uptime(); err != nil || up <= 0 {
		t.Errorf("up for %v, %v", up, err)
	}
	t.Logf("arrays %v, %d sensors, ports %+v", r.Arrays(), len(r.Sensors()), r.NICs())
}
