package snapshot

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

const capability = "security.capability"

// kept tells which attributes are configuration: those of people, capabilities and ACLs. Others (trusted.*, labels of security modules, a
// filesystem's own) belong to the server.
func kept(name string) bool {
	return strings.HasPrefix(name, "user.") || name == capability || name == ACLAccess || name == ACLDefault
}

// listXattrs returns the names of the attributes of an open file or directory that are kept, sorted.
func listXattrs(fd int) ([]string, error) {
	var small [512]byte
	buf := small[:]
	for try := 0; ; try++ {
		n, err := unix.Flistxattr(fd, buf)
		switch {
		case errors.Is(err, unix.ENOTSUP):
			return nil, nil
		case errors.Is(err, unix.ERANGE) && try < 2:
			buf = make([]byte, 64<<10) // XATTR_LIST_MAX
			continue
		case err != nil:
			return nil, fmt.Errorf("list attributes: %w", err)
		}
		var out []string
		for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
			if kept(name) {
				out = append(out, name)
			}
		}
		slices.Sort(out)
		return out, nil
	}
}

// readXattrs reads the attributes that are kept; ACLs as text.
func readXattrs(fd int, t Table) (map[string]string, error) {
	names, err := listXattrs(fd)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	out := map[string]string{}
	buf := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for _, name := range names {
		n, err := unix.Fgetxattr(fd, name, buf)
		if errors.Is(err, unix.ENODATA) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("read attribute %s: %w", name, err)
		}
		if name == ACLAccess || name == ACLDefault {
			if out[name], err = decodeACL(buf[:n], t); err != nil {
				return nil, fmt.Errorf("read attribute %s: %w", name, err)
			}
			continue
		}
		out[name] = string(buf[:n])
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// setXattrs makes the attributes of an open file or directory what x says, and removes others of the kinds that are kept.
func setXattrs(fd int, x map[string]string, t Table) error {
	have, err := listXattrs(fd)
	if err != nil {
		return err
	}
	for _, name := range have {
		if _, ok := x[name]; ok {
			continue
		}
		if err := unix.Fremovexattr(fd, name); err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("remove attribute %s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x)) {
		value := []byte(x[name])
		if !kept(name) {
			return fmt.Errorf("attribute %q is none of those that are kept", name)
		}
		if name == ACLAccess || name == ACLDefault {
			if value, err = encodeACL(x[name], t); err != nil {
				return fmt.Errorf("attribute %s: %w", name, err)
			}
		}
		if err := unix.Fsetxattr(fd, name, value, 0); err != nil {
			return fmt.Errorf("set attribute %s: %w", name, err)
		}
	}
	return nil
}

// setAttrs gives an open file or directory all attributes of e. The order matters: a change of owner clears setuid bits and capabilities,
// and an ACL changes the mode.
func setAttrs(fd int, p state.Path, e state.Entry, t Table) error {
	uid, gid, err := owner(p, e, t)
	if err != nil {
		return err
	}
	if err := unix.Fchown(fd, int(uid), int(gid)); err != nil {
		return fmt.Errorf("give /%s to %s:%s: %w", p, e.Owner, e.Group, err)
	}
	if err := setXattrs(fd, e.Xattrs, t); err != nil {
		if unknown, ok := errors.AsType[*UnknownNameError](err); ok {
			unknown.Path = p
		}
		return fmt.Errorf("write /%s: %w", p, err)
	}
	if err := unix.Fchmod(fd, e.Mode&0o7777); err != nil {
		return fmt.Errorf("set mode of /%s: %w", p, err)
	}
	return nil
}

// owner finds the numbers of e's owner and group. The error is a *UnknownNameError.
func owner(p state.Path, e state.Entry, t Table) (uid, gid uint32, err error) {
	uid, ok := t.users.id(e.Owner)
	if !ok {
		return 0, 0, &UnknownNameError{Path: p, Name: e.Owner}
	}
	if gid, ok = t.groups.id(e.Group); !ok {
		return 0, 0, &UnknownNameError{Path: p, Name: e.Group, Group: true}
	}
	return uid, gid, nil
}
