package watch

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// event is one record from the kernel, fanotify(7).
type event struct {
	mask   uint64
	pid    int
	pidfd  int  // ours to close; negative if there is none
	reaped bool // the kernel says that the process is gone: /proc/PID, if it is there, is another one's
	dir    fid  // the directory, where the event has one
	name   string
	to     fid // of a rename: where to
	toName string
}

// fid names a directory as the kernel does in events: the filesystem's ID, the handle's type and the handle. "" for none.
type fid string

const (
	metaLen = 24 // struct fanotify_event_metadata
	infoLen = 4  // struct fanotify_event_info_header

	maxHandle = 128 // MAX_HANDLE_SZ
)

var errShort = errors.New("the kernel's event is cut short")

// parse reads the records that one read(2) gave. Records before a broken one are returned with the error; their pidfds, and those of the
// broken one as far as seen, must be closed all the same.
func parse(b []byte) ([]event, error) {
	var out []event
	for len(b) > 0 {
		if len(b) < metaLen {
			return out, errShort
		}
		size, head := int64(binary.NativeEndian.Uint32(b)), int(binary.NativeEndian.Uint16(b[6:]))
		if size < metaLen || size > int64(len(b)) || head < metaLen || int64(head) > size {
			return out, fmt.Errorf("%w: length %d of %d bytes", errShort, size, len(b))
		}
		if v := b[4]; v != unix.FANOTIFY_METADATA_VERSION {
			return out, fmt.Errorf("the kernel's events have version %d; this program knows version %d", v, unix.FANOTIFY_METADATA_VERSION)
		}
		e := event{
			mask: binary.NativeEndian.Uint64(b[8:]), pid: int(int32(binary.NativeEndian.Uint32(b[20:]))), pidfd: unix.FAN_NOPIDFD,
		}
		err := e.infos(b[head:size])
		out = append(out, e)
		if err != nil {
			return out, err
		}
		b = b[size:]
	}
	return out, nil
}

// infos reads the records that follow an event's head.
func (e *event) infos(b []byte) error {
	for len(b) > 0 {
		if len(b) < infoLen {
			return errShort
		}
		kind, size := b[0], int(binary.NativeEndian.Uint16(b[2:]))
		if size < infoLen || size > len(b) {
			return fmt.Errorf("%w: part of %d of %d bytes", errShort, size, len(b))
		}
		body := b[infoLen:size]
		b = b[size:]
		var err error
		switch kind {
		case unix.FAN_EVENT_INFO_TYPE_DFID_NAME, unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, unix.FAN_EVENT_INFO_TYPE_DFID:
			e.dir, e.name, err = parseFID(body)
		case unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME:
			e.to, e.toName, err = parseFID(body)
		case unix.FAN_EVENT_INFO_TYPE_PIDFD:
			if len(body) < 4 {
				return errShort
			}
			e.pidfd = int(int32(binary.NativeEndian.Uint32(body)))
			e.reaped = e.pidfd == unix.FAN_NOPIDFD
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseFID reads fsid, struct file_handle and a name that ends in zero bytes.
func parseFID(b []byte) (fid, string, error) {
	if len(b) < 16 {
		return "", "", errShort
	}
	n := int64(binary.NativeEndian.Uint32(b[8:]))
	if n > int64(len(b)-16) || n > maxHandle {
		return "", "", fmt.Errorf("%w: handle of %d in %d bytes", errShort, n, len(b)-16)
	}
	name := b[16+n:]
	for i, c := range name {
		if c == 0 {
			name = name[:i]
			break
		}
	}
	return makeFID(b[:8], int32(binary.NativeEndian.Uint32(b[12:])), b[16:16+n]), string(name), nil
}

func makeFID(fsid []byte, kind int32, handle []byte) fid {
	b := make([]byte, 0, 12+len(handle))
	b = append(b, fsid...)
	b = binary.NativeEndian.AppendUint32(b, uint32(kind))
	return fid(append(b, handle...))
}

// parts undoes makeFID.
func (f fid) parts() (kind int32, handle []byte, ok bool) {
	if len(f) < 12 {
		return 0, nil, false
	}
	return int32(binary.NativeEndian.Uint32([]byte(f[8:12]))), []byte(f[12:]), true
}
