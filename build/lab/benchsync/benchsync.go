// Package benchsync measures how long a changed file takes from the write on one server to the same bytes on the other: by ATLAS's
// Synchronizer between the two servers of a namespace lab, and by lsyncd with rsync and by etckeeper with csync2 over the same lab's network,
// in turn, file by file.
//
//	lab, the others' writing side in the office's network, their receiving side at the client
//	→ for each size of tree: other files on both sides → rounds: write a file on one side, look at the other until it is there → the table
//
// All are watched in the same way: this program writes and reads the files of both sides itself, and the kernel counts the processor time of
// each in control groups. What is not the same is told by the report.
package benchsync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"sayasystems.com/atlas/build/hosttool"
	"sayasystems.com/atlas/build/lab"
	"sayasystems.com/atlas/build/lab/folder"
)

// Options of Run.
type Options struct {
	Image  string // atlas-VERSION.img with its manifest beside it
	Dir    string // a folder that does not exist; removed at the end
	Writes int    // measured writes of each, for each size of tree
	Trees  []int  // how many other files lie in the tree
	Stdout io.Writer
}

// programs is the folder of what was unpacked.
const programs = "programs"

// tree is the directory below which files are written, on both sides.
const tree = "bench"

// atRest is how long everybody is watched while nothing is written. A contender that takes seconds for a write has a write in every slow-th
// round only.
const (
	atRest = 30 * time.Second
	slow   = 10
)

// Run makes the lab and measures.
func Run(ctx context.Context, o Options) (err error) {
	if err := hosttool.Need("lsyncd", "rsync", "git", "nsenter", "apt-get", "dpkg-deb"); err != nil {
		return err
	}
	// Unpacked, not installed: installed, etckeeper would put /etc of this machine under git.
	if err := hosttool.Unpack(ctx, filepath.Join(o.Dir, programs), "csync2", "etckeeper", "libsqlite3-0"); err != nil {
		return err
	}
	l, err := lab.Open(filepath.Join(o.Dir, "lab"))
	if err != nil {
		return err
	}
	if err := l.Up(ctx, lab.Options{Kind: folder.Namespace, Servers: 2, Image: o.Image, Progress: o.Stdout}); err != nil {
		return err
	}
	defer func() { _ = l.Down(context.WithoutCancel(ctx), false) }() // the result is there; a folder left over tells itself
	var all []*contender
	defer func() {
		for _, c := range all {
			err = errors.Join(err, c.stop())
		}
	}()
	for _, begin := range []func(context.Context, *lab.Lab, string) (*contender, error){atlas, lsyncd, csync2} {
		c, err := begin(ctx, l, o.Dir)
		if c != nil {
			all = append(all, c)
		}
		if err != nil {
			return err
		}
	}
	var results []*result
	for _, tree := range o.Trees {
		part, err := measure(ctx, o, all, tree)
		results = append(results, part...)
		if err != nil {
			report(o.Stdout, results) // what was measured until then took its time
			return err
		}
	}
	report(o.Stdout, results)
	return nil
}

// measure fills the trees and then writes to them in turn, so that what else the machine does meets all alike.
func measure(ctx context.Context, o Options, all []*contender, tree int) ([]*result, error) {
	part := make([]*result, len(all))
	for i, c := range all {
		fmt.Fprintf(o.Stdout, "%s: putting %d other files into the tree\n", c.name, tree)
		part[i] = &result{name: c.name, tree: tree}
		if err := part[i].filled(ctx, c); err != nil {
			return part[:i], fmt.Errorf("%s: %w", c.name, err)
		}
	}
	fmt.Fprintf(o.Stdout, "%d other files: at rest for %v, then %d rounds of writes\n", tree, atRest, o.Writes)
	for i, c := range all {
		part[i].rest = -c.group.used()
	}
	if err := pause(ctx, atRest); err != nil {
		return part, err
	}
	for i, c := range all {
		part[i].rest += c.group.used()
	}
	for n := range o.Writes {
		for i, c := range all {
			if c.changed != nil && n%slow != 0 {
				continue
			}
			if err := part[i].write(ctx, c, fmt.Appendf(nil, "tree = %d\nwrite = %d\n", tree, n), n); err != nil {
				return part, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	for i, c := range all { // one more write, whose time does not count: looking at memory takes time itself
		if err := part[i].look(ctx, c, fmt.Appendf(nil, "tree = %d\nmemory\n", tree)); err != nil {
			return part, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return part, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
