package slots

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"sayasystems.com/atlas/image/layout"
)

// Update is what is written into a slot.
type Update struct {
	Version string
	Slot    string    // "a" or "b", never the running one
	UKI     []byte    // of this slot
	Root    io.Reader // squashfs
	Size    int64     // of Root
}

// Write puts an update into a slot: esp is the mounted ESP, root the slot's root partition (or a file). A power cut at any point
// leaves the other slot as it was and this one either absent or whole: the slot's old kernel image goes first, the root is
// written and read back, and only then comes the new kernel image, with its counter.
func Write(esp, root string, u Update) error {
	if u.Slot != "a" && u.Slot != "b" {
		return fmt.Errorf("write slot: %q is no slot", u.Slot)
	}
	name := layout.UKIName(u.Version, u.Slot, Tries)
	if _, ok := Parse(name); !ok {
		return fmt.Errorf("write slot %s: %q is not a version", u.Slot, u.Version)
	}
	if err := Remove(esp, u.Slot); err != nil {
		return err
	}
	if err := writeRoot(root, u); err != nil {
		return fmt.Errorf("write slot %s: %w", u.Slot, err)
	}
	if err := PutUKI(esp, name, u.UKI); err != nil {
		return fmt.Errorf("write slot %s: %w", u.Slot, err)
	}
	return nil
}

// Remove takes a slot's kernel images off the ESP, so that it is not booted.
func Remove(esp, slot string) error {
	all, err := List(esp)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Slot != slot {
			continue
		}
		if err := os.Remove(filepath.Join(esp, layout.UKIDir, e.File)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove slot %s: %w", slot, err)
		}
	}
	dir := filepath.Join(esp, layout.UKIDir)
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	if err := syncFS(dir); err != nil {
		return fmt.Errorf("remove slot %s: %w", slot, err)
	}
	return nil
}

// PutUKI writes a kernel image under another name first, so that a half-written one is never booted.
func PutUKI(esp, name string, data []byte) error {
	dir := filepath.Join(esp, layout.UKIDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp := filepath.Join(dir, "new.tmp")
	if err := writeSync(tmp, data); err != nil {
		return err
	}
	if err := syncFS(dir); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncFS(dir)
}

func writeSync(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

func writeRoot(root string, u Update) error {
	f, err := os.OpenFile(root, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	room, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("size of %s: %w", root, err)
	}
	if u.Size > room {
		return fmt.Errorf("the root is %d bytes; %s holds %d", u.Size, root, room)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(f, io.TeeReader(io.LimitReader(u.Root, u.Size), h))
	if err != nil {
		return err
	}
	if n != u.Size {
		return fmt.Errorf("the root ended after %d of %d bytes: %w", n, u.Size, io.ErrUnexpectedEOF)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	back := sha256.New()
	if _, err := io.Copy(back, io.NewSectionReader(f, 0, u.Size)); err != nil {
		return err
	}
	if !bytes.Equal(back.Sum(nil), h.Sum(nil)) {
		return fmt.Errorf("%s does not hold what was written: replace the system disk", root)
	}
	return nil
}
