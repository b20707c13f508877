// Package slots knows the two slots of a system disk by the names of their unified kernel images on the ESP, which carry
// systemd-boot's boot counters, and blesses, discards and writes slots. A new slot starts with some tries left; systemd-boot counts
// them down before each start; blessing takes the counter away; a slot without tries left is tried last.
//
//	atlas-1.2.0-b+3.efi → +2-1 → … → +0-3 (bad)      blessed: atlas-1.2.0-b.efi
//
// Source: systemd.io/AUTOMATIC_BOOT_ASSESSMENT and the Boot Loader Specification. It decides nothing: init blesses when a boot
// has proved good, the installer and updates write.
package slots

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/layout"
)

// Tries is how often a new slot is tried before the other is booted again.
const Tries = 3

// State of a slot.
type State string

// States.
const (
	Good   State = "good"   // blessed, or never counted
	Trying State = "trying" // has tries left
	Bad    State = "bad"    // has none
)

// Entry is one unified kernel image of a slot.
type Entry struct {
	File    string // name in layout.UKIDir
	Version string
	Slot    string // "a" or "b"
	Counted bool
	Left    int // tries left, if counted
	Done    int // tries made, if counted
}

// State tells what the counter says.
func (e Entry) State() State {
	switch {
	case !e.Counted:
		return Good
	case e.Left > 0:
		return Trying
	default:
		return Bad
	}
}

var nameRE = regexp.MustCompile(`^atlas-([0-9][0-9A-Za-z.~-]*)-([ab])(?:\+([0-9]{1,3})(?:-([0-9]{1,3}))?)?\.efi$`)

// Parse reads the name of a file; false: it is none of ours. FAT knows no case, so neither does Parse.
func Parse(name string) (Entry, bool) {
	m := nameRE.FindStringSubmatch(strings.ToLower(name))
	if m == nil {
		return Entry{}, false
	}
	e := Entry{File: name, Version: m[1], Slot: m[2], Counted: m[3] != ""}
	e.Left, _ = strconv.Atoi(m[3]) // digits only, by the pattern; empty is 0
	e.Done, _ = strconv.Atoi(m[4])
	return e, true
}

// List returns the entries on a mounted ESP, by slot.
func List(esp string) ([]Entry, error) {
	files, err := os.ReadDir(filepath.Join(esp, layout.UKIDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list slots: %w", err)
	}
	var out []Entry
	for _, f := range files {
		if e, ok := Parse(f.Name()); ok {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.File, b.File)) })
	return out, nil
}

// Other is the slot that is not s.
func Other(s string) string {
	if s == "a" {
		return "b"
	}
	return "a"
}

const loaderVendor = "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

// EFIVars is where Linux shows the firmware's variables.
const EFIVars = "/sys/firmware/efi/efivars"

// BootCountPath returns the file that this boot was started from if it is being counted, relative to the ESP with slashes; "" if it is
// not. vars is EFIVars. (Boot Loader Interface: LoaderBootCountPath.)
func BootCountPath(vars string) (string, error) {
	data, err := os.ReadFile(filepath.Join(vars, "LoaderBootCountPath"+loaderVendor))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read which slot was booted: %w", err)
	}
	return efiPath(data), nil
}

// efiPath decodes a variable (4 bytes of attributes, UTF-16 with a terminating zero) that is a path with backslashes.
func efiPath(data []byte) string {
	if len(data) < 4 {
		return ""
	}
	var u []uint16
	for d := data[4:]; len(d) >= 2; d = d[2:] {
		c := uint16(d[0]) | uint16(d[1])<<8
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	p := strings.ReplaceAll(string(utf16.Decode(u)), `\`, "/")
	if p == "" {
		return ""
	}
	return strings.TrimPrefix(path.Clean("/"+p), "/")
}

// Bless takes the counter off the running slot's kernel image on the mounted ESP: version and slot are those of the kernel's command
// line, counted is what BootCountPath returned. It returns the entry's name now; blessing twice is no error.
func Bless(esp, version, slot, counted string) (string, error) {
	good := layout.UKIName(version, slot, 0)
	all, err := List(esp)
	if err != nil {
		return "", err
	}
	for _, e := range all {
		if !strings.EqualFold(e.Version, version) || e.Slot != slot {
			continue
		}
		if !e.Counted {
			return e.File, nil
		}
		if counted != "" && !sameEntry(counted, e) {
			continue
		}
		if err := renameOn(esp, e.File, good); err != nil {
			return "", fmt.Errorf("bless slot %s: %w", slot, err)
		}
		return good, nil
	}
	return "", fmt.Errorf("bless slot %s: the ESP has no kernel image of version %s for it: %w", slot, version, fs.ErrNotExist)
}

// sameEntry compares without the counter: the loader tells the name as it was before counting this boot on some versions and after
// it on others.
func sameEntry(counted string, e Entry) bool {
	c, ok := Parse(path.Base(counted))
	return ok && c.Version == e.Version && c.Slot == e.Slot
}

// Condemn marks a slot so that it is tried last from now on: for a start that proved bad although the kernel runs.
func Condemn(esp, version, slot string) error {
	all, err := List(esp)
	if err != nil {
		return err
	}
	for _, e := range all {
		if strings.EqualFold(e.Version, version) && e.Slot == slot && e.State() != Bad {
			if err := renameOn(esp, e.File, layout.UKIName(version, slot, 0)[:len(layout.UKIName(version, slot, 0))-len(".efi")]+fmt.Sprintf("+0-%d.efi", max(e.Done, 1))); err != nil {
				return fmt.Errorf("condemn slot %s: %w", slot, err)
			}
		}
	}
	return nil
}

// renameOn renames in layout.UKIDir and makes it last.
func renameOn(esp, from, to string) error {
	dir := filepath.Join(esp, layout.UKIDir)
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		return err
	}
	return syncFS(dir)
}

// syncFS writes everything of the file system that holds dir: FAT has no journal, and a directory's fsync leaves the FAT itself out.
func syncFS(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
