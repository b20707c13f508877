// Package layout says where everything of an appliance lies: the partitions of the system disk, of the members of a disk set
// and of the image, and the directories at run time. Each fact stands here once; the builder writes by it, the installer
// copies by it, init mounts by it. It does no I/O.
package layout

// GPT partition names (PARTLABEL). The kernel shows them in sysfs, so that init finds partitions without udev.
const (
	ESP         = "atlas-esp"       // FAT32: systemd-boot and one unified kernel image per slot
	RootA       = "atlas-root-a"    // squashfs of slot A
	RootB       = "atlas-root-b"    // squashfs of slot B
	State       = "atlas-state"     // ext4: what belongs to this server and never travels
	InstallESP  = "atlas-inst-esp"  // on the install stick: FAT32, also holds install.yaml
	InstallRoot = "atlas-inst-root" // on the install stick: squashfs
	SetLabel    = "atlas-label"     // on a member of a disk set: the raw label
	SetMember   = "atlas-member"    // on a member of a disk set: the md member
)

// Sizes in bytes. Partitions start at 1 MiB boundaries.
const (
	MiB          = 1 << 20
	ESPSize      = 384 * MiB
	RootSize     = 1024 * MiB // each slot
	StateMinSize = 256 * MiB  // the state partition takes the rest of the system disk, at least this
	LabelSize    = 4 * MiB    // two copies, each in its own half
)

// GPT partition type GUIDs. ESP and Linux data are the standard ones; the label and member types are ATLAS's own for the
// label, and the standard Linux RAID type for the member.
const (
	TypeESP    = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
	TypeLinux  = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
	TypeRAID   = "A19D880F-05FC-4D3B-A006-743F0F84911E"
	TypeLabel  = "6C61626C-5441-4C41-8553-617961536574"
	TypeRootAB = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709" // Discoverable Partitions: root, x86-64
)

// Files on an ESP, relative to its root.
const (
	BootLoader    = "EFI/BOOT/BOOTX64.EFI"
	LoaderConf    = "loader/loader.conf"
	UKIDir        = "EFI/Linux"
	InstallUKI    = "EFI/Linux/atlas-install.efi" // boots the installer from the stick
	SlotUKIDir    = "atlas"                       // on the stick only: slot-a.efi, slot-b.efi, copied to UKIDir of the system disk
	InstallConfig = "install.yaml"                // unattended answers
	JoinFile      = "join.yaml"                   // written by the first server's installation, read by the second's
	ManifestFile  = "atlas/manifest.json"
)

// UKIName is the name of a slot's unified kernel image in UKIDir. tries > 0 adds systemd-boot's counter ("+3").
func UKIName(version, slot string, tries int) string {
	n := "atlas-" + version + "-" + slot
	if tries > 0 {
		n += "+" + string(rune('0'+tries))
	}
	return n + ".efi"
}

// Kernel command-line keys that the builder sets and init reads.
const (
	CmdSlot    = "atlas.slot"    // "a" or "b"; "install" on the stick
	CmdVersion = "atlas.version" // version of the image that the kernel belongs to
)

// Directories and files at run time.
const (
	Run         = "/run/atlas"
	ImageDir    = "/run/atlas/image" // the read-only root as the image has it, below what is bound over it
	StateDir    = "/run/atlas/state" // state partition
	SetDir      = "/run/atlas/set"   // filesystem of the disk set
	StickDir    = "/run/atlas/stick" // ESP of the install stick, while installing
	InitSocket  = "/run/atlas/init.sock"
	AdminSocket = "/run/atlas/sentry.sock" // sentry's, for the command atlas; only root may connect
	HandoverDir = "/run/atlas/early"       // what the initramfs tells init: boot.json
	LibDir      = "/usr/lib/atlas"         // init, sentry, packs, in the image
	PacksDir    = "/usr/lib/atlas/packs"
	OlderDir    = "/usr/lib/atlas/older" // a small root for each older release: programs that bring its data forward
	ImageInfo   = "/usr/lib/atlas/image.json"
)

// Directories on a disk set, relative to SetDir.
const (
	SetEtc    = "etc" // one directory per image version; the one in use is bound at /etc
	SetVar    = "var"
	SetSrv    = "srv"
	SetHome   = "home"
	SetRoot   = "root"
	SetSentry = "sentry"
	SetForms  = "forms" // record of the forms of services' data, and copies of before; root only
)

// EtcKept ends the name of the record of a conversion beside the generation of SetEtc that it has made.
const EtcKept = ".kept"

// ImageInEtc and ImageInVar belong to the image although they lie in /etc and /var: init binds them from ImageDir over the
// set's own.
var (
	imageInEtc = []string{"alternatives", "ld.so.cache", "ssl/certs/ca-certificates.crt"}
	imageInVar = []string{"lib/dpkg"}
)

// ImageInEtc returns the paths inside /etc that stay the image's.
func ImageInEtc() []string { return append([]string(nil), imageInEtc...) }

// ImageInVar returns the paths inside /var that stay the image's.
func ImageInVar() []string { return append([]string(nil), imageInVar...) }

// Network ports of ATLAS itself, on the management address.
const (
	DashboardPort = 8443 // HTTPS with login
	PeerPort      = 8444 // mutual TLS between servers, and joining
	SSHPort       = 22
)
