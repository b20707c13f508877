package systemdisk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// The mark lies between the partition table (which ends before 24 KiB, also with sectors of 4096 bytes) and the first partition,
// so that it is there before any filesystem is and disturbs none.
const (
	markOffset = 32 << 10
	markSize   = 4096
	markMagic  = "ATLAS unfinished installation\n"
)

// Mark says that an installation was begun on this disk and not ended.
type Mark struct {
	Server string    `json:"server"`
	Site   string    `json:"site,omitempty"` // UUID, once known: a set of this site that this run made is unfinished too
	Begun  time.Time `json:"begun"`
}

// Begin clears what a former owner left at both ends of dev (boot code, tables, signatures) and marks it, in one go.
func Begin(dev string, m Mark) error {
	data, err := encodeMark(m)
	if err != nil {
		return fmt.Errorf("mark %s: %w", dev, err)
	}
	f, err := os.OpenFile(dev, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("clear system disk: %w", err)
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("clear %s: %w", dev, err)
	}
	if end < MinSize {
		return fmt.Errorf("clear %s: it has %d bytes; a system disk needs %d", dev, end, int64(MinSize))
	}
	head := make([]byte, 1<<20)
	copy(head[markOffset:], data)
	if _, err := f.WriteAt(head, 0); err != nil {
		return fmt.Errorf("clear %s: %w", dev, err)
	}
	if _, err := f.WriteAt(make([]byte, 1<<20), end-1<<20); err != nil {
		return fmt.Errorf("clear %s: %w", dev, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("clear %s: %w", dev, err)
	}
	return nil
}

// SetMark changes the mark of dev to m.
func SetMark(dev string, m Mark) error {
	data, err := encodeMark(m)
	if err != nil {
		return fmt.Errorf("mark %s: %w", dev, err)
	}
	return writeMark(dev, data)
}

func encodeMark(m Mark) ([]byte, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	data = append([]byte(markMagic), data...)
	if len(data) > markSize {
		return nil, fmt.Errorf("%d bytes do not fit", len(data))
	}
	return data, nil
}

// ClearMark removes the mark of dev.
func ClearMark(dev string) error { return writeMark(dev, nil) }

func writeMark(dev string, data []byte) error {
	f, err := os.OpenFile(dev, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("mark system disk: %w", err)
	}
	defer f.Close()
	b := make([]byte, markSize)
	copy(b, data)
	if _, err := f.WriteAt(b, markOffset); err != nil {
		return fmt.Errorf("mark system disk: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("mark system disk: %w", err)
	}
	return nil
}

// ReadMark reads the mark of dev; ok is false when there is none. It writes nothing.
func ReadMark(dev string) (m Mark, ok bool, err error) {
	f, err := os.Open(dev)
	if err != nil {
		return m, false, fmt.Errorf("read mark: %w", err)
	}
	defer f.Close()
	b := make([]byte, markSize)
	switch _, err := f.ReadAt(b, markOffset); {
	case errors.Is(err, io.EOF):
		return m, false, nil // a disk this small has none
	case err != nil:
		return m, false, fmt.Errorf("read mark of %s: %w", dev, err)
	}
	m, ok = parseMark(b)
	return m, ok, nil
}

func parseMark(b []byte) (Mark, bool) {
	var m Mark
	data, found := bytes.CutPrefix(b, []byte(markMagic))
	if !found || json.Unmarshal(bytes.TrimRight(data, "\x00"), &m) != nil {
		return Mark{}, false
	}
	return m, true
}
