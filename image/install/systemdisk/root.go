package systemdisk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Progress tells how many of total bytes are done.
type Progress func(done, total int64)

// CopyRoot copies the squashfs at the start of from to the start of to, both devices or files, makes it durable, and reads it
// back from the medium. It returns the SHA-256 of what was copied.
func CopyRoot(ctx context.Context, from, to string, copied, verified Progress) (sum [sha256.Size]byte, err error) {
	src, err := os.Open(from)
	if err != nil {
		return sum, fmt.Errorf("copy root: %w", err)
	}
	defer src.Close()
	size, err := squashfsSize(src)
	if err != nil {
		return sum, fmt.Errorf("copy root from %s: %w", from, err)
	}
	dst, err := os.OpenFile(to, os.O_RDWR, 0)
	if err != nil {
		return sum, fmt.Errorf("copy root: %w", err)
	}
	defer dst.Close()
	if room, err := dst.Seek(0, io.SeekEnd); err != nil || room < size {
		return sum, fmt.Errorf("copy root: %s holds %d bytes, the image's root has %d", to, room, size)
	}
	if _, err := dst.Seek(0, io.SeekStart); err != nil {
		return sum, fmt.Errorf("copy root: %w", err)
	}
	h := sha256.New()
	if err := stream(ctx, io.MultiWriter(dst, h), src, size, copied); err != nil {
		return sum, fmt.Errorf("copy root from %s to %s: %w", from, to, err)
	}
	if err := dst.Sync(); err != nil {
		return sum, fmt.Errorf("copy root to %s: %w", to, err)
	}
	h.Sum(sum[:0])
	back, err := readBack(ctx, dst, size, verified)
	if err != nil {
		return sum, fmt.Errorf("read root back from %s: %w", to, err)
	}
	if !bytes.Equal(back, sum[:]) {
		return sum, fmt.Errorf("%s returns other bytes than were written: the disk or its cable is faulty; use another disk", to)
	}
	return sum, nil
}

// readBack hashes size bytes of f as the medium has them, not the page cache.
func readBack(ctx context.Context, f *os.File, size int64, p Progress) ([]byte, error) {
	// A block device forgets its cache by BLKFLSBUF, a file (disk images in tests) by fadvise; both only advise.
	_ = unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)
	_ = unix.Fadvise(int(f.Fd()), 0, size, unix.FADV_DONTNEED)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	h := sha256.New()
	if err := stream(ctx, h, f, size, p); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

func stream(ctx context.Context, w io.Writer, r io.Reader, size int64, p Progress) error {
	buf := make([]byte, 4<<20)
	for done := int64(0); done < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(int64(len(buf)), size-done)
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return fmt.Errorf("read at %d of %d bytes: %w", done, size, err)
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return fmt.Errorf("write at %d of %d bytes: %w", done, size, err)
		}
		done += n
		if p != nil {
			p(done, size)
		}
	}
	return nil
}

// squashfsSize reads how long the filesystem is from its superblock (Linux Documentation/filesystems/squashfs.rst: bytes_used at
// offset 40), rounded up to the 4 KiB that mksquashfs pads to, as far as r goes.
func squashfsSize(r io.ReadSeeker) (int64, error) {
	var b [96]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, fmt.Errorf("read superblock: %w", err)
	}
	if string(b[:4]) != "hsqs" {
		return 0, errors.New("no squashfs there; is this the install stick?")
	}
	used := binary.LittleEndian.Uint64(b[40:])
	end, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if used < 96 || used > uint64(end) {
		return 0, fmt.Errorf("superblock tells %d bytes, the partition holds %d: the stick is damaged, write it again", used, end)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	return min(int64(used+4095)/4096*4096, end), nil
}

// Wipe zeroes the first bytes of dev, so that nothing of what was there is taken for a filesystem.
func Wipe(dev string) error {
	f, err := os.OpenFile(dev, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 1<<20), 0); err != nil {
		return fmt.Errorf("wipe %s: %w", dev, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("wipe %s: %w", dev, err)
	}
	return nil
}
