package history

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The journal is a file of zeros, written once, over which records are laid. That a record overwrites blocks which exist already lets one
// fdatasync be one flush of the disk: the file's size and its blocks do not change, so the filesystem has nothing to record of its own.
//
//	header (64 bytes): magic, generation, CRC
//	record: magic (8) · generation (8) · number (8) · length (4) · CRC-32C of all but itself (4) · payload
//
// When the records have been settled a new journal with another, random generation takes the old one's name, so no byte of an old record, nor
// of a file's content that looks like one, is ever taken for a record of the new.
const (
	journalMagic  = "ATLASJ1\n"
	recordMagic   = "ATrec\x01\r\n"
	journalHeader = 64
	recordHeader  = 32
)

// journal is used by one writer at a time.
type journal struct {
	f    *os.File
	path string
	gen  uint64
	seq  uint64 // of the last record
	end  int64  // where the next record goes
	bad  error  // a flush failed: nobody knows what is on the disk
}

// newJournal puts an empty journal of area bytes in place, durably and at once.
func newJournal(path string, area int64) (*journal, error) {
	j, err := writeJournal(path, area)
	if err != nil {
		return nil, fmt.Errorf("make the journal %s: %w", path, err)
	}
	return j, nil
}

func writeJournal(path string, area int64) (*journal, error) {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, err
	}
	head := make([]byte, journalHeader)
	copy(head, journalMagic)
	copy(head[8:], raw[:])
	binary.LittleEndian.PutUint32(head[60:], crc32.Checksum(head[:60], castagnoli()))
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*journal, error) { f.Close(); os.Remove(tmp); return nil, err }
	if _, err := f.Write(append(head, make([]byte, area)...)); err != nil {
		return fail(err)
	}
	if err := f.Sync(); err != nil {
		return fail(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fail(err)
	}
	j := &journal{f: f, path: path, gen: binary.LittleEndian.Uint64(raw[:]), end: journalHeader}
	if err := syncDir(filepath.Dir(path)); err != nil {
		// It has the old one's name already, so there is no way back; but after a power cut it may be the old one again.
		j.bad = fmt.Errorf("flush the folder of the journal %s: %w; nothing can be recorded until it is opened anew", path, err)
	}
	return j, nil
}

// openJournal reads the journal's records. fs.ErrNotExist if there is none.
func openJournal(path string) (*journal, [][]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the journal: %w", err)
	}
	gen, records, end, err := parseJournal(b)
	if err != nil {
		return nil, nil, &DamagedError{Where: path, What: "the journal of the last changes cannot be read", Err: err}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open the journal: %w", err)
	}
	// A reader of an earlier boot may have seen what had not reached the disk yet: what is built upon from here on has to be there.
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("flush the journal %s: %w", path, err)
	}
	return &journal{f: f, path: path, gen: gen, seq: uint64(len(records)), end: end}, records, nil
}

// parseJournal yields the payloads of whole records. What follows the last whole record is one that a power cut tore, which nobody was told
// about, and is passed over; unless another whole record comes later, for then something that was durable has been damaged.
func parseJournal(b []byte) (gen uint64, records [][]byte, end int64, err error) {
	if len(b) < journalHeader || string(b[:8]) != journalMagic ||
		crc32.Checksum(b[:60], castagnoli()) != binary.LittleEndian.Uint32(b[60:]) {
		return 0, nil, 0, errors.New("its header is damaged")
	}
	gen = binary.LittleEndian.Uint64(b[8:])
	at := journalHeader
	for {
		payload, ok := parseRecord(b[at:], gen, uint64(len(records))+1, true)
		if !ok {
			break
		}
		records = append(records, payload)
		at += recordHeader + len(payload)
	}
	mark := binary.LittleEndian.AppendUint64([]byte(recordMagic), gen)
	for from := at; ; {
		i := bytes.Index(b[from:], mark)
		if i < 0 {
			return gen, records, int64(at), nil
		}
		from += i
		if _, ok := parseRecord(b[from:], gen, uint64(len(records))+1, false); ok {
			return 0, nil, 0, fmt.Errorf("record %d, at byte %d, is damaged", len(records)+1, at)
		}
		from++
	}
}

// parseRecord reads the record at the start of b: the one numbered seq, or any later one.
func parseRecord(b []byte, gen, seq uint64, exactly bool) ([]byte, bool) {
	if len(b) < recordHeader || string(b[:8]) != recordMagic || binary.LittleEndian.Uint64(b[8:]) != gen {
		return nil, false
	}
	n := binary.LittleEndian.Uint64(b[16:])
	if exactly && n != seq || n < seq {
		return nil, false
	}
	size := int64(binary.LittleEndian.Uint32(b[24:]))
	if size > int64(len(b)-recordHeader) {
		return nil, false
	}
	payload := b[recordHeader : recordHeader+size]
	sum := crc32.Update(crc32.Checksum(b[:28], castagnoli()), castagnoli(), payload)
	return payload, sum == binary.LittleEndian.Uint32(b[28:])
}

// append makes payload durable. After an error that says nothing was written, another append may follow.
func (j *journal) append(payload []byte) error {
	if j.bad != nil {
		return j.bad
	}
	if int64(len(payload)) > 1<<30 {
		return fmt.Errorf("write the journal %s: a record of %d bytes is too large", j.path, len(payload))
	}
	rec := make([]byte, 0, recordHeader+len(payload))
	rec = append(rec, recordMagic...)
	rec = binary.LittleEndian.AppendUint64(rec, j.gen)
	rec = binary.LittleEndian.AppendUint64(rec, j.seq+1)
	rec = binary.LittleEndian.AppendUint32(rec, uint32(len(payload)))
	sum := crc32.Update(crc32.Checksum(rec, castagnoli()), castagnoli(), payload)
	rec = append(binary.LittleEndian.AppendUint32(rec, sum), payload...)
	if _, err := j.f.WriteAt(rec, j.end); err != nil {
		// Disk full, most likely. The start of the record must not be completed by a later one that happens to be as long.
		if _, e := j.f.WriteAt(make([]byte, recordHeader), j.end); e != nil {
			j.bad = fmt.Errorf("write the journal %s: %w; nothing can be recorded until it is opened anew", j.path, errors.Join(err, e))
			return j.bad
		}
		return fmt.Errorf("write the journal %s: %w", j.path, err)
	}
	if err := unix.Fdatasync(int(j.f.Fd())); err != nil {
		// The kernel may have dropped what it could not write, and would say so once only.
		j.bad = fmt.Errorf("flush the journal %s: %w; nothing can be recorded until it is opened anew", j.path, err)
		return j.bad
	}
	j.seq++
	j.end += int64(len(rec))
	return nil
}

func (j *journal) close() error { return j.f.Close() }

// castagnoli is the table of CRC-32C; the library makes it once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// replaceFile writes a file durably: it is the old one or the new one, at any time.
func replaceFile(path string, b []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		if err = os.Rename(tmp, path); err == nil {
			return syncDir(filepath.Dir(path))
		}
	}
	if e := os.Remove(tmp); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}
