// Package demo shows a site to somebody who has just built an image: it brings two servers up in the lab and tells where their
// page is and how to swap their disks. Everything that it tells can be typed; it does nothing that `build lab` does not.
package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/lab"
	"sayasystems.com/atlas/build/lab/office"
)

// Main is `build demo`.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("build demo", flag.ContinueOnError)
	f.SetOutput(stderr)
	kind := f.String("kind", "auto", "vm, namespace, or auto: vm where KVM works, else namespace")
	out := f.String("out", "out", "directory with the image")
	dir := f.String("dir", "", "the demo's lab (default: demo in the cache)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		c, err := cache.Dir()
		if err != nil {
			return err
		}
		*dir = filepath.Join(c, "demo")
	}
	image := lab.NewestImage(*out)
	if image == "" {
		return fmt.Errorf("no atlas-*.img in %s; make one with: make image", *out)
	}
	l, err := lab.Open(*dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Installing two servers from %s and starting them.\n", image)
	if err := l.Up(ctx, lab.Options{Kind: *kind, Image: image, Progress: stdout}); err != nil {
		return errors.Join(err, fmt.Errorf("to begin anew: %s lab down --dir %s", os.Args[0], *dir))
	}
	st, err := l.Status(ctx)
	if err != nil {
		return err
	}
	tell(stdout, st, os.Args[0])
	return nil
}

func tell(w io.Writer, st lab.Status, program string) {
	fmt.Fprint(w, "\nThe site is up.\n\n")
	for _, fw := range st.Forwards {
		fmt.Fprintf(w, "  %-22s %s\n", fw.Name, fw.URL)
	}
	fmt.Fprintf(w, "  %-22s %s / %s\n\n", "login", st.Admin.User, st.Admin.Password)
	if st.Kind == "namespace" {
		fmt.Fprint(w, "This machine has no working KVM, so the servers run in Linux namespaces: the real root and the real init, but no\n"+
			"firmware, kernel or RAID of their own. `make demo-down && make demo KIND=vm` runs them in QEMU (slow without KVM).\n\n")
	}
	fmt.Fprint(w, "Write something, swap the disk sets, and see it served by the other server:\n\n")
	for _, line := range []string{
		fmt.Sprintf("L() { %s lab --dir %s \"$@\"; }", program, st.Dir),
		"L client -- curl -d 'text=hello from before the swap' http://" + office.Service + "/notes/",
		"L power off left; L power off right",
		"L swap left right",
		"L power on left; L power on right",
		"L wait right primary; L wait right ready",
		"L client -- curl 'http://" + office.Service + "/notes/?format=text'",
		"L status",
	} {
		fmt.Fprintln(w, "  "+strings.TrimSpace(line))
	}
	fmt.Fprintln(w, "\n`make demo-down` removes it all.")
}
