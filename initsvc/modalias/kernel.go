package modalias

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Kernel loads modules with finit_module(2). Compressed files are left to the kernel to unpack (CONFIG_MODULE_DECOMPRESS); the
// image carries them uncompressed.
type Kernel struct{}

// Load loads one file. A module that is loaded already, or is being loaded by another, is no error.
func (Kernel) Load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("load module: %w", err)
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(file, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(f.Fd()), "", flags)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", filepath.Base(file), err)
	}
	return nil
}

// Dir is the directory of the running kernel's modules below root ("/" or "").
func Dir(root string) (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("kernel release: %w", err)
	}
	return filepath.Join("/", root, "lib/modules", unix.ByteSliceToString(u.Release[:])), nil
}
