package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/slots"
	"sayasystems.com/atlas/initsvc/handover"
)

// slotGood tells whether the running slot is known to be good: then systemd-boot did not count this start.
func slotGood() (bool, error) {
	counted, err := slots.BootCountPath(slots.EFIVars)
	if err != nil {
		return false, fmt.Errorf("boot counting: %w", err)
	}
	return counted == "", nil
}

// bless takes the counter off the running slot.
func bless(h handover.Handover) error {
	counted, err := slots.BootCountPath(slots.EFIVars)
	if err != nil {
		return fmt.Errorf("boot counting: %w", err)
	}
	if counted == "" {
		return nil
	}
	return onESP(h, 0, func(dir string) error {
		_, err := slots.Bless(dir, h.Version, h.Slot, counted)
		return err
	})
}

// errNoFallback tells that there is no other version to go back to.
var errNoFallback = errors.New("the other slot is not known to be good")

// condemn gives the running slot up in favour of the other, if that one is good.
func condemn(h handover.Handover) error {
	good := false
	err := onESP(h, unix.MS_RDONLY, func(dir string) error {
		entries, err := slots.List(dir)
		for _, e := range entries {
			good = good || e.Slot == slots.Other(h.Slot) && e.State() == slots.Good
		}
		return err
	})
	if err != nil {
		return err
	}
	if !good {
		return errNoFallback
	}
	return onESP(h, 0, func(dir string) error { return slots.Condemn(dir, h.Version, h.Slot) })
}
