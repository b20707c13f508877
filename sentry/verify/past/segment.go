package past

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// A segment holds one day: frames, one behind the other.
//
//	frame:  2 bytes mark, 1 byte kind, 4 bytes length of the body, 4 bytes CRC-32C of kind and body, body
//	name:   number of the series in this segment, and its four names, each with its length before it
//	batch:  minute since 1970 at which the span begins, number of records, records
//	record: number of the series; runs that passed, warned, failed and told nothing; number of buckets; each: bucket less the one before, runs
//
// Numbers in bodies are unsigned varints, those in frames little-endian.
const (
	frameHead = 11
	kindName  = 1
	kindBatch = 2
	maxBody   = 1 << 20
)

// mark begins a frame, so that the next can be found behind damage.
const mark = "\xa7\x1a"

// batch is all of one span.
type batch struct {
	start int64 // minute since 1970
	sums  sums
}

func frame(b []byte, kind byte, body []byte) []byte {
	b = append(b, mark...)
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, checksum(kind, body))
	return append(b, body...)
}

func checksum(kind byte, body []byte) uint32 {
	t := crc32.MakeTable(crc32.Castagnoli) // made once by the library
	return crc32.Update(crc32.Checksum([]byte{kind}, t), t, body)
}

// segment is one as it is read.
type segment struct {
	names map[uint64]Series
	end   int // of the last whole frame
}

// read goes through data and gives each batch to take. What is damaged is left out.
func (s *segment) read(data []byte, take func(batch)) {
	s.names = map[uint64]Series{}
	for at := 0; at < len(data); {
		next := bytes.Index(data[at:], []byte(mark))
		if next < 0 {
			return
		}
		at += next
		kind, body, ok := whole(data[at:])
		if !ok {
			at++ // behind damage, or within a body that looks like a frame
			continue
		}
		at += frameHead + len(body)
		s.end = at
		r := &reader{b: body}
		switch kind {
		case kindName:
			id := r.uint()
			n := Series{r.text(), r.text(), r.text(), r.text()}
			if !r.bad {
				s.names[id] = n
			}
		case kindBatch:
			if b, ok := s.batch(r); ok && take != nil {
				take(b)
			}
		}
	}
}

// whole is the frame at the beginning of data, if it is one.
func whole(data []byte) (kind byte, body []byte, ok bool) {
	if len(data) < frameHead || string(data[:2]) != mark {
		return 0, nil, false
	}
	n := binary.LittleEndian.Uint32(data[3:])
	if n > maxBody || int(n) > len(data)-frameHead {
		return 0, nil, false
	}
	kind, body = data[2], data[frameHead:frameHead+int(n)]
	return kind, body, checksum(kind, body) == binary.LittleEndian.Uint32(data[7:])
}

func (s *segment) batch(r *reader) (batch, bool) {
	b := batch{start: int64(r.uint()), sums: sums{}}
	for n := r.uint(); n > 0 && !r.bad; n-- {
		name, known := s.names[r.uint()]
		x := &sum{pass: r.uint(), warn: r.uint(), fail: r.uint(), unknown: r.uint(), times: map[uint64]uint64{}}
		last := uint64(0)
		for k := r.uint(); k > 0 && !r.bad; k-- {
			last += r.uint()
			x.times[min(last, maxBucket)] += r.uint()
		}
		if known && !r.bad { // its name was in a damaged place
			b.sums.of(name).add(x)
		}
	}
	return b, !r.bad
}

// appendTo writes batches to the end of the segment at path, on disk when it returns. What a power cut left behind the last whole frame goes.
func appendTo(path string, list []batch) (err error) {
	wrap := func(err error) error { return fmt.Errorf("write the probes' history: %w", err) }
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return wrap(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(f)
	if err != nil {
		return wrap(err)
	}
	var s segment
	s.read(data, nil)
	ids := map[Series]uint64{}
	free := uint64(0)
	for id, n := range s.names {
		ids[n] = id
		free = max(free, id+1)
	}
	var out []byte
	for _, b := range list {
		var body []byte
		body = binary.AppendUvarint(body, uint64(b.start))
		body = binary.AppendUvarint(body, uint64(len(b.sums)))
		for _, n := range slices.SortedFunc(maps.Keys(b.sums), Series.compare) {
			id, ok := ids[n]
			if !ok {
				id = free
				ids[n] = id
				free++
				out = frame(out, kindName, nameBody(id, n))
			}
			body = b.sums[n].append(binary.AppendUvarint(body, id))
		}
		if len(body) > maxBody {
			return wrap(fmt.Errorf("%d series are more than fit", len(b.sums)))
		}
		out = frame(out, kindBatch, body)
	}
	if s.end < len(data) {
		if err := f.Truncate(int64(s.end)); err != nil {
			return wrap(err)
		}
	}
	if _, err := f.WriteAt(out, int64(s.end)); err != nil {
		_ = f.Truncate(int64(s.end)) // a full disk: what is half there would only be taken away later
		return wrap(err)
	}
	if err := f.Sync(); err != nil {
		return wrap(err)
	}
	if len(data) > 0 {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("write the probes' history: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("write the probes' history: %w", err)
	}
	return nil
}

func nameBody(id uint64, n Series) []byte {
	b := binary.AppendUvarint(nil, id)
	for _, s := range []string{n.Observer, n.Target, n.Service, n.Probe} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func (s *sum) append(b []byte) []byte {
	for _, n := range []uint64{s.pass, s.warn, s.fail, s.unknown, uint64(len(s.times))} {
		b = binary.AppendUvarint(b, n)
	}
	last := uint64(0)
	for _, k := range slices.Sorted(maps.Keys(s.times)) {
		b = binary.AppendUvarint(b, k-last)
		b = binary.AppendUvarint(b, s.times[k])
		last = k
	}
	return b
}

// scan gives all batches of one kind ("m-" or "h-") that begin in [from, to), minutes since 1970.
func (s *Store) scan(kind string, from, to int64, take func(batch)) error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("look through the probes' history: %w", err)
	}
	for _, f := range files {
		k, day, ok := parseName(f.Name())
		first := day.Unix() / 60
		if !ok || k != kind || first >= to || first+24*60 <= from {
			continue
		}
		data, err := os.ReadFile(filepath.Join(s.dir, f.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // taken away meanwhile
		}
		if err != nil {
			return fmt.Errorf("read the probes' history: %w", err)
		}
		var seg segment
		seg.read(data, func(b batch) {
			if b.start >= from && b.start < to {
				take(b)
			}
		})
	}
	return nil
}

// reader takes a body apart; after the first mistake everything is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || r.bad {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	n := r.uint()
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
