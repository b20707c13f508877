// Package repro proves that an image depends on its sources only: it makes one twice, the second time without anything kept from
// before, and compares the files byte by byte.
package repro

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/product"
	"sayasystems.com/atlas/build/toolsroot"
)

// Run makes o twice. The second build has its own work directory below the cache, which is removed afterwards; it keeps only the tools
// root and Go's compiler cache. Both take the first one's date, as Debian's archive may be renewed meanwhile without a
// change to any package.
func Run(ctx context.Context, o product.Options) (err error) {
	fmt.Fprintln(o.Stdout, "first build")
	first, err := product.Make(ctx, o)
	if err != nil {
		return err
	}
	dir, err := cache.Dir()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(dir, "repro-")
	if err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	second := o
	if second.Key == "" {
		second.Key = filepath.Join(filepath.Dir(filepath.Dir(first.Image)), product.KeyFile)
	}
	second.Out, second.Work, second.Epoch = filepath.Join(work, "out"), filepath.Join(work, "build"), first.Date.Unix()
	fmt.Fprintln(o.Stdout, "second build, from nothing")
	if _, err := product.Make(ctx, second); err != nil {
		return err
	}
	for _, n := range first.Files {
		a, b := filepath.Join(filepath.Dir(first.Image), n), filepath.Join(second.Out, n)
		err := Compare(a, b)
		var diff *DifferentError
		if errors.As(err, &diff) && a == first.Image {
			tools, terr := toolsroot.Ensure(ctx, nil)
			if terr != nil {
				return errors.Join(err, terr)
			}
			what, xerr := explain(ctx, tools, work, a, b)
			if what == "" {
				what = "the roots are the same; the difference is in the boot partition"
			}
			return errors.Join(fmt.Errorf("%w\nin the root, %s", err, what), xerr)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(o.Stdout, "same bytes:", n)
	}
	return nil
}

// DifferentError tells where two files part.
type DifferentError struct {
	A, B   string
	Offset int64 // of the first differing byte; the length of the shorter if one is a beginning of the other
}

func (e *DifferentError) Error() string {
	return fmt.Sprintf("%s and %s differ from byte %d (%#x) on", e.A, e.B, e.Offset, e.Offset)
}

// Compare returns a *DifferentError unless both files have the same bytes.
func Compare(a, b string) error {
	fa, err := os.Open(a)
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	defer fb.Close()
	ra, rb := bufio.NewReaderSize(fa, 1<<20), bufio.NewReaderSize(fb, 1<<20)
	for at := int64(0); ; at++ {
		ca, ea := ra.ReadByte()
		cb, eb := rb.ReadByte()
		switch {
		case errors.Is(ea, io.EOF) && errors.Is(eb, io.EOF):
			return nil
		case ea != nil && !errors.Is(ea, io.EOF):
			return fmt.Errorf("compare %s: %w", a, ea)
		case eb != nil && !errors.Is(eb, io.EOF):
			return fmt.Errorf("compare %s: %w", b, eb)
		case ea != nil || eb != nil || ca != cb:
			return &DifferentError{a, b, at}
		}
	}
}
