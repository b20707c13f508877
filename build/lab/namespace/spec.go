package namespace

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"sayasystems.com/atlas/image/gpt"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/handover"
)

// Directories inside the server that stand for its hardware.
const (
	labDir    = layout.Run + "/lab"
	bayDir    = labDir + "/bays"
	arrayDir  = labDir + "/arrays"
	stateDir  = labDir + "/state"
	stickDir  = labDir + "/stick"
	initBin   = layout.LibDir + "/init"
	rebooting = 3 // init's exit status for "start me again"
)

// spec is what the first program inside the new namespaces needs to know. It gets it as JSON on its command line.
type spec struct {
	Root     string            `json:"root"`   // mount point for the image's root, outside
	Image    string            `json:"image"`  // file with the squashfs, or a directory
	Offset   uint64            `json:"offset"` // of the squashfs in the file
	Size     uint64            `json:"size"`   // 0: to the file's end
	Console  string            `json:"console"`
	CGroup   string            `json:"cgroup,omitempty"` // cgroup2 directory to be the root of the cgroup namespace
	Binds    map[string]string `json:"binds"`            // below labDir ← outside
	Handover handover.Handover `json:"handover"`
	Hostname string            `json:"hostname"`
}

// findRoot returns where the root filesystem lies in an image: the partition layout.InstallRoot of an install image, or the
// whole file when it is a squashfs itself.
func findRoot(image string) (offset, size uint64, err error) {
	st, err := os.Stat(image)
	if err != nil {
		return 0, 0, fmt.Errorf("open image: %w", err)
	}
	if st.IsDir() {
		return 0, 0, nil
	}
	f, err := os.Open(image)
	if err != nil {
		return 0, 0, fmt.Errorf("open image: %w", err)
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := f.ReadAt(magic, 0); err != nil {
		return 0, 0, fmt.Errorf("read image %s: %w", image, err)
	}
	if string(magic) == "hsqs" {
		return 0, 0, nil
	}
	parts, err := gpt.Read(f, st.Size(), 512)
	if err != nil {
		return 0, 0, fmt.Errorf("read image %s: %w", image, err)
	}
	p, ok := gpt.Find(parts, layout.InstallRoot)
	if !ok {
		return 0, 0, fmt.Errorf("image %s has no partition %s; is it an atlas-VERSION.img?", image, layout.InstallRoot)
	}
	return uint64(p.Start), uint64(p.Size), nil
}

// HelperVerb is the hidden verb of `build lab` that runs this package's background programs.
const HelperVerb = "namespace-helper"

// helper makes the command that runs one of them.
func helper(args ...string) (*exec.Cmd, error) {
	exe := os.Getenv("ATLAS_LAB_PROGRAM")
	if exe == "" {
		var err error
		if exe, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find the lab's own program: %w", err)
		}
		if filepath.Ext(exe) == ".test" {
			return nil, errors.New("the lab's helpers run in its own program, and this is a test binary; set ATLAS_LAB_PROGRAM to the build program")
		}
	}
	return exec.Command(exe, append([]string{"lab", HelperVerb}, args...)...), nil
}

func (s spec) encode() (string, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("describe the server: %w", err)
	}
	return string(data), nil
}
