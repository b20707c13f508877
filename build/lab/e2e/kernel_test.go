package e2e

import (
	"slices"
	"testing"
)

// TestKernelServices switches on, while the site runs, what needs a kernel of the server's own, and has a client's kernel use it. It is
// CI's sample of TestEveryService on virtual machines; `make services` runs all of it.
func TestKernelServices(t *testing.T) {
	s := use(t, "vm")
	s.serving(t, "left", "right")
	t.Cleanup(func() { s.restoreServices(t) })
	s.enable(t, "left", "right", "nfs", "hardware")
	b := &business{site: s, primary: "left"}
	for _, i := range slices.DeleteFunc(fileItems(), func(i item) bool { return i.pack != "nfs" }) {
		if err := i.made(b); err != nil {
			t.Fatalf("making %s: %v", i.name, err)
		}
		if err := i.there(b); err != nil {
			t.Error(err)
		}
	}
	s.healthy(t, "left", "right")
}
