package history

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"sync"
)

// inflaters keeps zlib readers that are done, since each has buffers of 40 KiB and most objects are smaller.
type inflaters struct{ pool sync.Pool }

// open gives a reader of what is deflated in r; Close gives it back.
func (z *inflaters) open(r io.Reader) (*inflater, error) {
	if i, ok := z.pool.Get().(*inflater); ok {
		if err := i.zr.(zlib.Resetter).Reset(r, nil); err != nil {
			return nil, err
		}
		i.open = true
		return i, nil
	}
	zr, err := zlib.NewReader(r)
	if err != nil {
		return nil, err
	}
	return &inflater{zr: zr, from: z, open: true}, nil
}

type inflater struct {
	zr   io.ReadCloser
	from *inflaters
	open bool
}

func (i *inflater) Read(b []byte) (int, error) {
	if !i.open {
		return 0, io.ErrClosedPipe
	}
	return i.zr.Read(b)
}

// Close may be called twice; the reader must not be given back twice.
func (i *inflater) Close() error {
	i.done()
	return nil
}

func (i *inflater) done() {
	if !i.open {
		return
	}
	i.open = false
	// A new shell: who still holds the old one must not read what another reads.
	i.from.pool.Put(&inflater{zr: i.zr, from: i.from})
}

// readAll inflates an object of size bytes.
func (z *inflaters) readAll(r io.Reader, size int64) ([]byte, error) {
	i, err := z.open(r)
	if err != nil {
		return nil, err
	}
	defer i.done()
	return readSized(i, size)
}

// readSized reads size bytes and not one more. It trusts size only as far as bytes come.
func readSized(r io.Reader, size int64) ([]byte, error) {
	if size > maxWhole {
		return nil, errors.New("the size of an object is not possible")
	}
	var b bytes.Buffer
	b.Grow(int(min(size, 1<<20)) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(r, size+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) != size {
		return nil, fmt.Errorf("an object has %d bytes where %d are told", b.Len(), size)
	}
	return b.Bytes(), nil
}

// deflater is used by one at a time. What it makes holds until the next call. The compressor is large and made once.
type deflater struct {
	z   *zlib.Writer
	buf bytes.Buffer
}

func (d *deflater) deflate(content []byte) ([]byte, error) {
	d.buf.Reset()
	if d.z == nil {
		var err error
		if d.z, err = zlib.NewWriterLevel(&d.buf, zlib.BestSpeed); err != nil {
			return nil, err
		}
	} else {
		d.z.Reset(&d.buf)
	}
	_, err := d.z.Write(content)
	err = errors.Join(err, d.z.Close())
	return d.buf.Bytes(), err
}
