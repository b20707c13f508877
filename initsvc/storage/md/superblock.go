package md

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// superblock is what is needed of an md superblock of version 1 (struct mdp_superblock_1 in the kernel's
// include/uapi/linux/raid/md_p.h). It is read here and not through "mdadm --examine" since every boot and every inserted disk needs
// it, also of disks without device nodes; the tests hold the two against each other.
type superblock struct {
	Array      string // UUID as mdadm prints it
	Level      int32
	Slots      int // raid_disks
	Slot       int // own slot; -1 = spare or faulty
	Events     uint64
	Missing    []int // slots without a device, as this member knows it
	Recovering bool
}

const (
	superMagic     = 0xa92b4efc
	superOffset    = 4096 // of version 1.2, from the start of the member partition
	superSize      = 4096
	superFixed     = 256
	maxSuperRoles  = (superSize - superFixed) / 2
	recoveryOffset = 2 // feature_map: MD_FEATURE_RECOVERY_OFFSET
	roleSpare      = 0xffff
	roleFaulty     = 0xfffe
	roleJournal    = 0xfffd
)

var errNoSuper = errors.New("no md superblock")

// readSuper reads the version 1.2 superblock of a member that starts at offset start of r.
func readSuper(r io.ReaderAt, start int64) (superblock, error) {
	b := make([]byte, superSize)
	if _, err := r.ReadAt(b, start+superOffset); err != nil && !errors.Is(err, io.EOF) {
		return superblock{}, fmt.Errorf("read md superblock: %w", err)
	}
	return parseSuper(b)
}

func parseSuper(b []byte) (superblock, error) {
	le := binary.LittleEndian
	if len(b) < superFixed || le.Uint32(b) != superMagic || le.Uint32(b[4:]) != 1 {
		return superblock{}, errNoSuper
	}
	devs := int(le.Uint32(b[220:]))
	if devs > maxSuperRoles || len(b) < superFixed+2*devs {
		return superblock{}, fmt.Errorf("md superblock lists %d devices: %w", devs, errNoSuper)
	}
	if le.Uint32(b[216:]) != superChecksum(b[:superFixed+2*devs]) {
		return superblock{}, fmt.Errorf("md superblock has a wrong checksum: %w", errNoSuper)
	}
	s := superblock{
		Array:      arrayUUID(b[16:32]),
		Level:      int32(le.Uint32(b[72:])),
		Slots:      int(le.Uint32(b[92:])),
		Events:     le.Uint64(b[200:]),
		Recovering: le.Uint32(b[8:])&recoveryOffset != 0,
		Slot:       -1,
	}
	if s.Slots < 0 || s.Slots > maxSuperRoles {
		return superblock{}, fmt.Errorf("md superblock has %d slots: %w", s.Slots, errNoSuper)
	}
	here := make([]bool, s.Slots)
	self := int(le.Uint32(b[160:]))
	for i := range devs {
		role := int(le.Uint16(b[superFixed+2*i:]))
		if role < s.Slots {
			here[role] = true
			if i == self {
				s.Slot = role
			}
		}
	}
	for i, h := range here {
		if !h {
			s.Missing = append(s.Missing, i)
		}
	}
	return s, nil
}

// superChecksum is calc_sb_1_csum of drivers/md/md.c: the words without the checksum itself, folded once.
func superChecksum(b []byte) uint32 {
	var sum uint64
	for i := 0; i+4 <= len(b); i += 4 {
		if i != 216 {
			sum += uint64(binary.LittleEndian.Uint32(b[i:]))
		}
	}
	if len(b)%4 == 2 {
		sum += uint64(binary.LittleEndian.Uint16(b[len(b)-2:]))
	}
	return uint32(sum) + uint32(sum>>32)
}

func arrayUUID(b []byte) string {
	var out [4]string
	for i := range out {
		out[i] = hex.EncodeToString(b[4*i : 4*i+4])
	}
	return out[0] + ":" + out[1] + ":" + out[2] + ":" + out[3]
}
