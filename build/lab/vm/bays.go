package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/process"
	"sayasystems.com/atlas/build/lab/qmp"
)

// Faults of a disk.
const (
	Error = "error" // every read, write and flush fails
	Hang  = "hang"  // nothing is answered
	Slow  = "slow"  // 20 requests and 256 KiB a second
	OK    = "ok"
)

// Pull takes the disk out of a bay, whether the server is on or off. A pulled disk takes no more writes, from the first moment:
// the kernel's orderly farewell (hot-plug gives it five seconds) must not flush what a hand would have torn out.
func (s *Server) Pull(ctx context.Context, bay int) (folder.Disk, error) {
	unlock, err := s.Folder.Lock(s.Name)
	if err != nil {
		return folder.Disk{}, err
	}
	defer unlock()
	if err := folder.CheckBay(bay); err != nil {
		return folder.Disk{}, err
	}
	d, err := s.Folder.DiskIn(s.Name, bay)
	if err != nil {
		return folder.Disk{}, err
	}
	if d == nil || !s.On() {
		return s.Folder.Pull(s.Name, bay) // says that the bay is empty, or moves the disk
	}
	name := node(d.Serial)
	if err := os.WriteFile(s.trigger(name), nil, 0o644); err != nil {
		return *d, fmt.Errorf("pull bay %d of %s: %w", bay, s.Name, err)
	}
	id, err := process.Load(s.record(name))
	if err != nil {
		return *d, err
	}
	// A hanging disk would hold QEMU up; once it answers, it answers with errors.
	if err := id.Signal(syscall.SIGCONT); err != nil {
		return *d, err
	}
	device := fmt.Sprintf("disk%d", bay)
	err = s.monitor(ctx, time.Minute, func(ctx context.Context, c *qmp.Conn) error {
		if err := c.Execute(ctx, "device_del", map[string]string{"id": device}, nil); err != nil {
			return err
		}
		if _, err := c.Await(ctx, func(e qmp.Event) bool { return e.Name == "DEVICE_DELETED" && names(e.Data, device) }); err != nil {
			return fmt.Errorf("the server does not let go of the disk (is its kernel still booting?): %w", err)
		}
		return c.Execute(ctx, "blockdev-del", map[string]string{"node-name": name}, nil)
	})
	if err != nil {
		return *d, fmt.Errorf("pull bay %d of %w", bay, err)
	}
	// Killed: a cache in a disk without power is lost.
	if err := errors.Join(id.Kill(ctx), ignoreMissing(os.Remove(s.record(name))), ignoreMissing(os.Remove(s.trigger(name)))); err != nil {
		return *d, err
	}
	return s.Folder.Pull(s.Name, bay)
}

// Insert puts a disk from the shelf into an empty bay, whether the server is on or off.
func (s *Server) Insert(ctx context.Context, bay int, serial string) (folder.Disk, error) {
	unlock, err := s.Folder.Lock(s.Name)
	if err != nil {
		return folder.Disk{}, err
	}
	defer unlock()
	d, err := s.Folder.Insert(s.Name, bay, serial)
	if err != nil || !s.On() {
		return d, err
	}
	name := node(serial)
	if err := s.serve(ctx, name, filepath.Join(s.Folder.Bay(s.Name, bay), "disk.img")); err != nil {
		return d, err
	}
	err = s.monitor(ctx, 30*time.Second, func(ctx context.Context, c *qmp.Conn) error {
		dev := map[string]any{"driver": "nbd", "node-name": name, "server": map[string]string{
			"type": "unix", "path": s.inside(filepath.Join(s.Folder.Run(s.Name), name+".sock")),
		}}
		if err := c.Execute(ctx, "blockdev-add", dev, nil); err != nil {
			return err
		}
		return c.Execute(ctx, "device_add", map[string]any{
			"driver": "virtio-blk-pci", "id": fmt.Sprintf("disk%d", bay), "bus": fmt.Sprintf("bay%d", bay), "drive": name,
			"werror": "report", "rerror": "report", "write-cache": "on", "serial": serial,
		}, nil)
	})
	if err != nil {
		return d, fmt.Errorf("insert %s into bay %d of %w", serial, bay, err)
	}
	return d, nil
}

// Fault makes the disk in a bay (0: the system disk) fail, hang or crawl, or work again. It ends with the server's power.
func (s *Server) Fault(ctx context.Context, bay int, fault string) error {
	unlock, err := s.Folder.Lock(s.Name)
	if err != nil {
		return err
	}
	defer unlock()
	name, device := "system", "system"
	if bay != 0 {
		if err := folder.CheckBay(bay); err != nil {
			return err
		}
		d, err := s.Folder.DiskIn(s.Name, bay)
		if err != nil {
			return err
		}
		if d == nil {
			return fmt.Errorf("bay %d of %s is empty", bay, s.Name)
		}
		name, device = node(d.Serial), fmt.Sprintf("disk%d", bay)
	}
	if !s.On() {
		return fmt.Errorf("%s is off; a disk without power has no faults: lab power on %s", s.Name, s.Name)
	}
	id, err := process.Load(s.record(name))
	if err != nil {
		return err
	}
	switch fault {
	case Error:
		if err := os.WriteFile(s.trigger(name), nil, 0o644); err != nil {
			return fmt.Errorf("disk in bay %d of %s: %w", bay, s.Name, err)
		}
		return nil
	case Hang:
		return id.Signal(syscall.SIGSTOP)
	case Slow:
		return s.throttle(ctx, device, 256<<10, 20)
	case OK:
		if err := errors.Join(ignoreMissing(os.Remove(s.trigger(name))), id.Signal(syscall.SIGCONT)); err != nil {
			return err
		}
		return s.throttle(ctx, device, 0, 0)
	}
	return fmt.Errorf("no disk fault %q: say %s, %s, %s or %s", fault, Error, Hang, Slow, OK)
}

func (s *Server) throttle(ctx context.Context, device string, bps, iops int) error {
	return s.monitor(ctx, 10*time.Second, func(ctx context.Context, c *qmp.Conn) error {
		return c.Execute(ctx, "block_set_io_throttle", map[string]any{
			// A virtio device is two objects; the inner one has the disk.
			"id": "/machine/peripheral/" + device + "/virtio-backend", "bps": bps, "bps_rd": 0, "bps_wr": 0, "iops": iops, "iops_rd": 0, "iops_wr": 0,
		}, nil)
	})
}

// names tells whether an event is about a device.
func names(data json.RawMessage, device string) bool {
	var d struct {
		Device string `json:"device"`
	}
	return json.Unmarshal(data, &d) == nil && d.Device == device
}
