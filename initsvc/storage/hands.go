package storage

import (
	"context"

	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/roles"
)

// teller is implemented by hands that are told by the kernel when the array changes, so that nobody needs to look all the time.
type teller interface {
	Events(ctx context.Context, changed func()) error
}

// hands touch disks and arrays. They do what they are told, at once and durably, and decide nothing.
type hands interface {
	// Fingerprint changes when a disk is inserted or pulled. It is cheap: nothing but names is read.
	Fingerprint() string
	Disks(ctx context.Context) ([]roles.Disk, error)
	// WriteLabel has the label on the disk when it returns nil. When it returns an error the disk holds the old or the new label.
	WriteLabel(ctx context.Context, d roles.Disk, l roles.Label) error
	// Release stops stale arrays that use the disks.
	Release(ctx context.Context, disks []roles.Disk) error
	// Prepare destroys what is on the disks and partitions them alike, large enough for the running array, if there is one.
	// From its first to its last step a disk reads as blank, or as what it was.
	Prepare(ctx context.Context, set string, disks ...roles.Disk) error
	// Fits returns an *array.TooSmallError if the disk is too small for the running array.
	Fits(d roles.Disk) error
	// Create makes the array and its filesystem and mounts it.
	Create(ctx context.Context, s array.Spec) error
	// Assemble starts the array from exactly s.Disks, checks the filesystem and mounts it. On error nothing is left running.
	Assemble(ctx context.Context, s array.Spec) error
	Status(ctx context.Context) (array.Status, error)
	// Add puts a prepared disk into a free slot; the array rebuilds it.
	Add(ctx context.Context, d roles.Disk) error
	// Remove takes a failed or vanished disk out of the running array. A disk that is not in it is no error.
	Remove(ctx context.Context, d roles.Disk) error
	// Stop flushes, unmounts and stops the array.
	Stop(ctx context.Context) error
}
