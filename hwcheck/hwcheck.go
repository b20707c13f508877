// Package hwcheck takes the inventory of a server (CPU, memory, board, firmware, disks with their bays, network interfaces, PCI
// devices without a driver), compares it with the baseline kept on the server, and compares two servers of a site. It reads
// through ghw and fills the gaps from sysfs, so that it needs no udev. It changes nothing and knows no labels.
package hwcheck

// Inventory is what a server is made of. Sizes are bytes.
type Inventory struct {
	Product  string `json:"product"`
	Serial   string `json:"serial"`
	UUID     string `json:"uuid"`
	Board    string `json:"board"`
	Firmware string `json:"firmware"` // vendor, version, date
	CPU      CPU    `json:"cpu"`
	Memory   uint64 `json:"memory"`
	Disks    []Disk `json:"disks"`
	NICs     []NIC  `json:"nics"`
	// NoDriver are PCI devices that no driver has taken, without bridges and the like that need none.
	NoDriver []PCIDevice `json:"no_driver"`
	// Server is the name of the server, for the findings of Compare; may be empty.
	Server string `json:"server,omitempty"`
	// Problems tell which parts of this inventory could not be taken.
	Problems []Finding `json:"problems,omitempty"`
}

// CPU is all processors together.
type CPU struct {
	Model   string   `json:"model"`
	Cores   int      `json:"cores"`
	Threads int      `json:"threads"`
	Flags   []string `json:"flags,omitempty"`
}

// Disk is one whole disk.
type Disk struct {
	Dev       string `json:"dev"`  // "/dev/vda"
	Path      string `json:"path"` // place in the hardware, stable over boots: sysfs path of the controller port
	Bay       int    `json:"bay"`  // number on the front; 0 = not in a swappable bay
	Serial    string `json:"serial"`
	WWN       string `json:"wwn,omitempty"`
	Model     string `json:"model"`
	Bus       string `json:"bus"` // "nvme", "sata", "sas", "usb", "virtio", "scsi"
	Size      uint64 `json:"size"`
	Sector    int    `json:"sector"` // logical
	Physical  int    `json:"physical"`
	Removable bool   `json:"removable"` // CD drives and sticks
	Rotates   bool   `json:"rotates"`
}

// NIC is one physical network interface.
type NIC struct {
	Name   string `json:"name"`
	MAC    string `json:"mac"`
	Driver string `json:"driver"`
	Link   bool   `json:"link"`
	Speed  int    `json:"speed"` // Mbit/s, 0 = unknown
	Path   string `json:"path"`
}

// PCIDevice is one PCI function.
type PCIDevice struct {
	Address  string `json:"address"`
	Vendor   string `json:"vendor"`
	Product  string `json:"product"`
	Class    string `json:"class"`
	Modalias string `json:"modalias"`
}

// Severities of a Finding.
const (
	Info     = "info"
	Warning  = "warning"
	Critical = "critical"
)

// Finding is one difference or fault.
type Finding struct {
	ID       string `json:"id"`
	Severity string `json:"severity"`
	What     string `json:"what"`
	Next     string `json:"next"`
}
