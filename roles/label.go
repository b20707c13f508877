package roles

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// LabelVersion is the format that this code writes, and the newest that it reads.
const LabelVersion = 1

// Layout of the label partition: two copies, each at the start of its own half. A copy is a header and a JSON payload:
//
//	offset 0   8 bytes  magic "ATLASLBL"
//	offset 8   4 bytes  format version, little endian
//	offset 12  4 bytes  length of the payload in bytes
//	offset 16  8 bytes  sequence, + 1 with each write: of two good copies the higher one counts
//	offset 24  4 bytes  zero
//	offset 28  4 bytes  CRC32C of the 28 bytes before it and of the payload
//
// Later versions keep this header, so that an older image can tell a label of the future from a broken one.
const (
	PartitionSize = 4 << 20 // of the label partition
	copySize      = PartitionSize / 2
	headerSize    = 32
	maxPayload    = 1 << 20
	magic         = "ATLASLBL"
)

// Why a label cannot be read.
var (
	// ErrNone: the partition is empty; no label was ever written.
	ErrNone = errors.New("no label has been written yet")
	// ErrTorn: the first label was being written when power went; there never was a whole one.
	ErrTorn = errors.New("the first label was never finished")
	// ErrCorrupt: something is there and neither copy is whole.
	ErrCorrupt = errors.New("both copies of the label are damaged")
)

// FutureError tells that a label was written by a newer image than this one.
type FutureError struct{ Version int }

func (e *FutureError) Error() string {
	return fmt.Sprintf("the label has format version %d, newer than this image knows (%d)", e.Version, LabelVersion)
}

// castagnoli makes CRC32C, which hardware computes.
func castagnoli(parts ...[]byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, table, p)
	}
	return sum
}

// Encode makes one copy of the label, as it is written into one half of the partition.
func Encode(l Label, sequence uint64) ([]byte, error) {
	l.Version = LabelVersion
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("encode label: %w", err)
	}
	payload, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode label: %w", err)
	}
	if len(payload) > maxPayload {
		return nil, fmt.Errorf("encode label: %d bytes are more than %d", len(payload), maxPayload)
	}
	return frame(LabelVersion, sequence, payload), nil
}

func frame(version uint32, sequence uint64, payload []byte) []byte {
	b := make([]byte, headerSize, headerSize+len(payload))
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(payload)))
	binary.LittleEndian.PutUint64(b[16:], sequence)
	binary.LittleEndian.PutUint32(b[28:], castagnoli(b[:28], payload))
	return append(b, payload...)
}

// Decode reads one copy and its sequence. Errors: ErrNone (all zero), ErrCorrupt, *FutureError, or what Validate says.
func Decode(b []byte) (Label, uint64, error) {
	var l Label
	if len(b) < headerSize || string(b[:8]) != magic {
		if len(bytes.Trim(b[:min(len(b), headerSize)], "\x00")) == 0 {
			return l, 0, ErrNone
		}
		return l, 0, ErrCorrupt
	}
	version := binary.LittleEndian.Uint32(b[8:])
	length := binary.LittleEndian.Uint32(b[12:])
	sequence := binary.LittleEndian.Uint64(b[16:])
	if length > maxPayload || int(length) > len(b)-headerSize {
		return l, 0, ErrCorrupt
	}
	payload := b[headerSize : headerSize+int(length)]
	if castagnoli(b[:28], payload) != binary.LittleEndian.Uint32(b[28:]) {
		return l, 0, ErrCorrupt
	}
	if version > LabelVersion {
		return l, sequence, &FutureError{Version: int(version)}
	}
	if err := json.Unmarshal(payload, &l); err != nil {
		return Label{}, 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := l.Validate(); err != nil {
		return Label{}, 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return l, sequence, nil
}

// half is what was found in one half of the partition.
type half struct {
	label    Label
	sequence uint64
	err      error
}

func readHalf(r io.ReaderAt, i int) half {
	b := make([]byte, headerSize)
	n, err := r.ReadAt(b, int64(i)*copySize)
	if err != nil && !errors.Is(err, io.EOF) {
		return half{err: fmt.Errorf("copy %d: %w", i+1, err)}
	}
	b = b[:n]
	if n == headerSize && string(b[:8]) == magic {
		if length := binary.LittleEndian.Uint32(b[12:]); length <= maxPayload {
			b = append(b, make([]byte, length)...)
			n, err := r.ReadAt(b[headerSize:], int64(i)*copySize+headerSize)
			if err != nil && !errors.Is(err, io.EOF) {
				return half{err: fmt.Errorf("copy %d: %w", i+1, err)}
			}
			b = b[:headerSize+n]
		}
	}
	var h half
	h.label, h.sequence, h.err = Decode(b)
	return h
}

// ReadLabel reads the label of a partition: of the copies that are whole, the one written last. A damaged copy beside a whole one
// is what a power cut leaves, and is fine. Errors: ErrNone, ErrTorn, ErrCorrupt, *FutureError, or the disk's own.
func ReadLabel(r io.ReaderAt) (Label, error) {
	h := [2]half{readHalf(r, 0), readHalf(r, 1)}
	newest := -1
	for i := range h {
		if _, future := errors.AsType[*FutureError](h[i].err); h[i].err != nil && !future {
			continue
		}
		if newest < 0 || h[i].sequence > h[newest].sequence {
			newest = i
		}
	}
	if newest >= 0 {
		if h[newest].err != nil {
			return Label{}, h[newest].err
		}
		return h[newest].label, nil
	}
	none := [2]bool{errors.Is(h[0].err, ErrNone), errors.Is(h[1].err, ErrNone)}
	for i := range h {
		if !none[i] && !errors.Is(h[i].err, ErrCorrupt) {
			return Label{}, fmt.Errorf("read label: %w", h[i].err)
		}
	}
	switch {
	case none[0] && none[1]:
		return Label{}, ErrNone
	case none[0] || none[1]:
		return Label{}, ErrTorn
	}
	return Label{}, ErrCorrupt
}

// File is what a label is written to: the label partition, or the lab's file.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// WriteLabel writes both copies, one after the other, each made durable before the next is touched, the older one first: at any
// moment one whole copy is on the disk, and afterwards both are the same. It refuses to write over a label of the future.
func WriteLabel(f File, l Label) error {
	h := [2]half{readHalf(f, 0), readHalf(f, 1)}
	first, sequence := 0, uint64(0)
	for i := range h {
		sequence = max(sequence, h[i].sequence)
		if _, ok := errors.AsType[*FutureError](h[i].err); ok {
			return fmt.Errorf("write label: %w", h[i].err)
		}
	}
	// The copy to spare is the whole one that was written last.
	if h[0].err == nil && (h[1].err != nil || h[0].sequence > h[1].sequence) {
		first = 1
	}
	b, err := Encode(l, sequence+1)
	if err != nil {
		return err
	}
	for _, i := range []int{first, 1 - first} {
		if _, err := f.WriteAt(b, int64(i)*copySize); err != nil {
			return fmt.Errorf("write label, copy %d: %w", i+1, err)
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("write label, copy %d: sync: %w", i+1, err)
		}
	}
	return nil
}
