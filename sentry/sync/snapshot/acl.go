package snapshot

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Names of the attributes that hold ACLs.
const (
	ACLAccess  = "system.posix_acl_access"
	ACLDefault = "system.posix_acl_default"
)

// Tags of an ACL's entries, from the kernel's include/uapi/linux/posix_acl.h; the binary form is that of posix_acl_xattr.h.
const (
	tagUserObj  = 0x01
	tagUser     = 0x02
	tagGroupObj = 0x04
	tagGroup    = 0x08
	tagMask     = 0x10
	tagOther    = 0x20

	aclVersion = 2
	noID       = 0xffffffff
	maxACL     = 64 << 10 // XATTR_SIZE_MAX
)

type aclEntry struct {
	tag, perm uint16
	id        uint32
	name      string
}

// decodeACL turns the kernel's binary form into text with names: "user::rw-,user:anna:r--,group::r--,mask::r--,other::---". The order is
// by kind and then by name, so that equal ACLs have equal texts on servers with different numbers.
func decodeACL(b []byte, t Table) (string, error) {
	if len(b) < 4 || (len(b)-4)%8 != 0 || len(b) > maxACL || binary.LittleEndian.Uint32(b) != aclVersion {
		return "", errors.New("the ACL is not in the form of version 2")
	}
	var list []aclEntry
	for b = b[4:]; len(b) > 0; b = b[8:] {
		e := aclEntry{tag: binary.LittleEndian.Uint16(b), perm: binary.LittleEndian.Uint16(b[2:]), id: binary.LittleEndian.Uint32(b[4:])}
		switch e.tag {
		case tagUser:
			e.name = t.User(e.id)
		case tagGroup:
			e.name = t.Group(e.id)
		case tagUserObj, tagGroupObj, tagMask, tagOther:
		default:
			return "", fmt.Errorf("the ACL has an entry of unknown kind %#x", e.tag)
		}
		if e.perm > 7 {
			return "", fmt.Errorf("the ACL has unknown permissions %#x", e.perm)
		}
		list = append(list, e)
	}
	slices.SortStableFunc(list, func(a, b aclEntry) int {
		return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id))
	})
	parts := make([]string, len(list))
	for i, e := range list {
		kind := "user"
		switch e.tag {
		case tagGroupObj, tagGroup:
			kind = "group"
		case tagMask:
			kind = "mask"
		case tagOther:
			kind = "other"
		}
		parts[i] = kind + ":" + escape(e.name) + ":" + perms(e.perm)
	}
	return strings.Join(parts, ","), nil
}

func perms(p uint16) string {
	out := []byte("---")
	for i, c := range []byte("rwx") {
		if p&(4>>i) != 0 {
			out[i] = c
		}
	}
	return string(out)
}

// escape writes bytes of a name that would be taken for separators as \ and three octal digits, like getfacl(1).
func escape(name string) string {
	var out strings.Builder
	for _, c := range []byte(name) {
		if c <= ' ' || c == 0x7f || c == ',' || c == ':' || c == '\\' {
			fmt.Fprintf(&out, "\\%03o", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, "\\") {
		return s, nil
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i+4 > len(s) {
			return "", fmt.Errorf("name %q ends in an escape", s)
		}
		c, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
		if err != nil {
			return "", fmt.Errorf("name %q has a wrong escape", s)
		}
		out = append(out, byte(c))
		i += 3
	}
	return string(out), nil
}

// encodeACL turns the text into the kernel's form. The error about a name that is not known is a *UnknownNameError.
func encodeACL(text string, t Table) ([]byte, error) {
	if len(text) > maxACL {
		return nil, errors.New("the ACL is too long")
	}
	var list []aclEntry
	for part := range strings.SplitSeq(text, ",") {
		e, err := parseACLEntry(part, t)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	// posix_acl_valid wants this order; among users and groups any order will do, by number is what setfacl(1) makes.
	slices.SortStableFunc(list, func(a, b aclEntry) int { return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id)) })
	if err := validACL(list); err != nil {
		return nil, err
	}
	b := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range list {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	if len(b) > maxACL {
		return nil, errors.New("the ACL is too long")
	}
	return b, nil
}

func parseACLEntry(part string, t Table) (aclEntry, error) {
	f := strings.Split(part, ":")
	if len(f) != 3 || len(f[2]) != 3 {
		return aclEntry{}, fmt.Errorf("ACL entry %q is not of the form kind:name:rwx", part)
	}
	e := aclEntry{id: noID}
	for i, c := range []byte("rwx") {
		switch f[2][i] {
		case c:
			e.perm |= 4 >> i
		case '-':
		default:
			return e, fmt.Errorf("ACL entry %q: permissions are not like %q", part, "rw-")
		}
	}
	name, err := unescape(f[1])
	if err != nil {
		return e, fmt.Errorf("ACL entry %q: %w", part, err)
	}
	switch {
	case f[0] == "user" && name == "":
		e.tag = tagUserObj
	case f[0] == "group" && name == "":
		e.tag = tagGroupObj
	case f[0] == "mask" && name == "":
		e.tag = tagMask
	case f[0] == "other" && name == "":
		e.tag = tagOther
	case f[0] == "user":
		e.tag = tagUser
		e.id, err = t.UID(name)
	case f[0] == "group":
		e.tag = tagGroup
		e.id, err = t.GID(name)
	default:
		return e, fmt.Errorf("ACL entry %q is of an unknown kind", part)
	}
	return e, err
}

// validACL checks what the kernel would refuse with a bare "invalid argument".
func validACL(list []aclEntry) error {
	n := map[uint16]int{}
	for i, e := range list {
		n[e.tag]++
		if i > 0 && list[i-1].tag == e.tag && list[i-1].id == e.id {
			return errors.New("the ACL has two entries for the same one")
		}
	}
	switch {
	case n[tagUserObj] != 1 || n[tagGroupObj] != 1 || n[tagOther] != 1:
		return errors.New("the ACL must have one entry each for the owner, the group and others")
	case n[tagUser]+n[tagGroup] > 0 && n[tagMask] == 0:
		return errors.New("the ACL names users or groups and has no mask")
	}
	return nil
}
