package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

const (
	// inDirs are the events of names: all that is needed of directories on the way to a root.
	inDirs = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_RENAME | unix.FAN_DELETE_SELF | unix.FAN_MOVE_SELF | unix.FAN_ONDIR
	// inFiles are those of files' contents and attributes. FAN_MODIFY is for files that stay open.
	inFiles = unix.FAN_CLOSE_WRITE | unix.FAN_MODIFY | unix.FAN_ATTRIB | unix.FAN_EVENT_ON_CHILD

	atHandleFID = 0x200 // AT_HANDLE_FID (Linux 6.5): also where handles cannot be opened, as on overlayfs
)

// kernel is the fanotify group.
type kernel struct {
	fd   int
	exec int      // another group: programs that are started; -1 if there is none
	base *os.File // the root directory
}

func openKernel(root string) (*kernel, error) {
	base, err := os.OpenFile(root, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	flags := uint(unix.FAN_CLASS_NOTIF | unix.FAN_REPORT_DFID_NAME | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK)
	// The queue is bounded (fs.fanotify.max_queued_events): an overflow is told, memory is not eaten up. The marks are bounded by us.
	var fd int
	for _, extra := range []uint{unix.FAN_REPORT_PIDFD | unix.FAN_UNLIMITED_MARKS, unix.FAN_UNLIMITED_MARKS} {
		if fd, err = unix.FanotifyInit(flags|extra, unix.O_RDONLY|unix.O_CLOEXEC); err == nil {
			return &kernel{fd: fd, exec: -1, base: base}, nil
		}
	}
	base.Close()
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("watch for changes of files: %w (it takes the administrator's rights)", err)
	}
	return nil, fmt.Errorf("watch for changes of files: %w", err)
}

// programs asks for the starts of programs in the directories, as far as they are there. The group is one of its own, so that nothing that
// is started can crowd out what is changed. It is best effort: without it, fewer of the short-lived authors are known.
func (k *kernel) programs(dirs []state.Path) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_DFID_NAME|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return
	}
	marked := false
	for _, dir := range dirs {
		d, err := k.open(dir)
		if err != nil {
			continue
		}
		err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_ONLYDIR, unix.FAN_OPEN_EXEC|unix.FAN_EVENT_ON_CHILD, int(d.Fd()), "")
		marked = marked || err == nil
		d.Close()
	}
	if !marked {
		_ = unix.Close(fd)
		return
	}
	k.exec = fd
}

func (k *kernel) close() {
	if k.exec >= 0 {
		_ = unix.Close(k.exec)
	}
	_ = unix.Close(k.fd)
	k.base.Close()
}

// open opens the directory p below the root without following a link; "" is the root.
func (k *kernel) open(p state.Path) (*os.File, error) {
	if p == "" {
		p = "."
	}
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(int(k.base.Fd()), string(p), &how)
		if err == nil {
			return os.NewFile(uintptr(fd), k.base.Name()+"/"+string(p)), nil
		}
		if (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)) && try < 100 {
			continue // something was renamed meanwhile, openat2(2)
		}
		return nil, err
	}
}

// id returns the handle that events name the open directory with.
func (k *kernel) id(d *os.File) (fid, error) {
	fd := int(d.Fd())
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return "", fmt.Errorf("name the filesystem: %w", err)
	}
	h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH|atHandleFID)
	if errors.Is(err, unix.EINVAL) {
		h, _, err = unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	}
	if err != nil {
		return "", fmt.Errorf("name the directory: %w", err)
	}
	fsid := binary.NativeEndian.AppendUint32(nil, uint32(st.Fsid.Val[0]))
	fsid = binary.NativeEndian.AppendUint32(fsid, uint32(st.Fsid.Val[1]))
	return makeFID(fsid, h.Type(), h.Bytes()), nil
}

// mark asks for the events of the open directory.
func (k *kernel) mark(d *os.File, mask uint64) error {
	return unix.FanotifyMark(k.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_ONLYDIR, mask, int(d.Fd()), "")
}

// unmark ends the events of directories that were moved out of sight. near is a directory on the same filesystem. It is best effort: events
// of what is not known are passed over anyway, and the kernel forgets directories that are removed.
func (k *kernel) unmark(near *os.File, list []*node) {
	for _, n := range list {
		kind, b, ok := n.id.parts()
		if !ok {
			continue
		}
		fd, err := unix.OpenByHandleAt(int(near.Fd()), unix.NewFileHandle(kind, b), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
		if err != nil {
			continue
		}
		_ = unix.FanotifyMark(k.fd, unix.FAN_MARK_REMOVE|unix.FAN_MARK_ONLYDIR, inDirs|inFiles, fd, "")
		_ = unix.Close(fd)
	}
}

// mountpoint tells whether something else is mounted on the open directory.
func mountpoint(d *os.File) bool {
	var st unix.Statx_t
	err := unix.Statx(int(d.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT, 0, &st)
	return err == nil && st.Attributes&st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0
}
