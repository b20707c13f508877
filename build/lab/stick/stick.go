// Package stick prepares the lab's install stick: a copy of the image whose first partition holds install.yaml (for virtual
// servers), or a directory that stands for that partition (for namespace servers). The answers are the ones that an installer
// would write by hand; join.yaml, which the first server's installation leaves on the stick, stays on it for the next.
package stick

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/office"
	"sayasystems.com/atlas/build/lab/place"
	"sayasystems.com/atlas/image/gpt"
	"sayasystems.com/atlas/image/install"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// Order is what a server's answers are made of.
type Order struct {
	Server     folder.Server
	First      bool                // founds the site; the others join it
	SystemDisk string              // serial; "" for a namespace server
	Disks      map[int]folder.Disk // in its bays
	Password   string
	SSHKey     string   // public
	Erase      bool     // disks may hold something
	Services   []string // packs that the site runs
	Code       string   // join code; "" to take join.yaml on the stick
	Peer       string   // management address of the server that gave the code
}

// Answers returns install.yaml for a server of the lab: the first gets the primary set, the second the secondary, a third none.
func Answers(o Order) install.Answers {
	a := install.Answers{
		Server:     o.Server.Name,
		Set:        install.SetChoice{Level: roles.RAID1, Role: roles.Secondary},
		Management: siteconf.Management{Address: o.Server.Address + office.Prefix, Gateway: office.Gateway},
		Then:       "off",
	}
	if o.SystemDisk != "" {
		a.SystemDisk = install.DiskChoice{Serial: o.SystemDisk, Erase: o.Erase}
	}
	for bay := 1; bay <= folder.Bays; bay++ {
		if d, ok := o.Disks[bay]; ok {
			a.Set.Disks = append(a.Set.Disks, install.DiskChoice{Serial: d.Serial, Erase: o.Erase})
		}
	}
	if len(a.Set.Disks) == 0 {
		a.Set = install.SetChoice{}
	}
	if !o.First {
		a.Join = &install.JoinSite{File: true}
		if o.Code != "" {
			a.Join = &install.JoinSite{Address: o.Peer, Code: o.Code}
		}
		return a
	}
	a.Set.Role = roles.Primary
	a.Password = o.Password
	a.SSHKeys = []string{o.SSHKey}
	a.New = &install.NewSite{
		Name: "Lab", Hostname: "office", Domain: office.Domain, Services: o.Services,
		Service:   siteconf.Service{Address: office.Service + office.Prefix, Address6: office.Service6 + office.Prefix6, Gateway: office.Gateway},
		Addresses: []siteconf.PackAddress{{Pack: "addc", Address: office.AD + office.Prefix}},
	}
	return a
}

// Encode writes answers as install.yaml.
func Encode(a install.Answers) ([]byte, error) {
	var doc yaml.Node
	if err := doc.Encode(a); err != nil {
		return nil, fmt.Errorf("write %s: %w", layout.InstallConfig, err)
	}
	prune(&doc)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return nil, fmt.Errorf("write %s: %w", layout.InstallConfig, err)
	}
	return b.Bytes(), nil
}

// prune leaves out keys that say nothing, as a person would.
func prune(n *yaml.Node) {
	for _, c := range n.Content {
		prune(c)
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	var keep []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		v := n.Content[i+1]
		if v.Kind == yaml.ScalarNode && (v.Value == "" || v.Tag == "!!null") || v.Kind != yaml.ScalarNode && len(v.Content) == 0 {
			continue
		}
		keep = append(keep, n.Content[i], v)
	}
	n.Content = keep
}

// Stick is the lab's install stick.
type Stick struct {
	Folder folder.Folder
	Kind   string
	Server folder.Server // that it is for
	Tools  string        // the tools root, for a virtual server's stick
}

// Make makes the stick from the image, if it is not there.
func (s Stick) Make(ctx context.Context, image string) error {
	if s.Kind == folder.Namespace {
		if err := os.MkdirAll(s.Folder.StickDir(), 0o755); err != nil {
			return fmt.Errorf("make the install stick: %w", err)
		}
		return nil
	}
	if _, err := os.Stat(s.Folder.StickImage(s.Server)); err == nil {
		return nil
	}
	if err := folder.Copy(ctx, image, s.Folder.StickImage(s.Server)); err != nil {
		return fmt.Errorf("make the install stick: %w", err)
	}
	return nil
}

// Write puts a file into the stick's first partition, replacing what it had under this name.
func (s Stick) Write(ctx context.Context, name string, data []byte) error {
	if s.Kind == folder.Namespace {
		if err := os.WriteFile(filepath.Join(s.Folder.StickDir(), name), data, 0o600); err != nil {
			return fmt.Errorf("write %s on the install stick: %w", name, err)
		}
		return nil
	}
	if _, err := s.mtool(ctx, data, "mcopy", "-D", "o", "-o", "-", "::"+name); err != nil {
		return fmt.Errorf("write %s on the install stick: %w", name, err)
	}
	return nil
}

// Remove removes a file from the stick. One that is not there is no error.
func (s Stick) Remove(ctx context.Context, name string) error {
	if s.Kind == folder.Namespace {
		err := os.Remove(filepath.Join(s.Folder.StickDir(), name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove %s from the install stick: %w", name, err)
		}
		return nil
	}
	if _, err := s.mtool(ctx, nil, "mtype", "::"+name); err != nil {
		return nil //nolint:nilerr // it is not there
	}
	if _, err := s.mtool(ctx, nil, "mdel", "::"+name); err != nil {
		return fmt.Errorf("remove %s from the install stick: %w", name, err)
	}
	return nil
}

// Read reads a file from the stick.
func (s Stick) Read(ctx context.Context, name string) ([]byte, error) {
	if s.Kind == folder.Namespace {
		data, err := os.ReadFile(filepath.Join(s.Folder.StickDir(), name))
		if err != nil {
			return nil, fmt.Errorf("read %s on the install stick: %w", name, err)
		}
		return data, nil
	}
	data, err := s.mtool(ctx, nil, "mtype", "::"+name)
	if err != nil {
		return nil, fmt.Errorf("read %s on the install stick: %w", name, err)
	}
	return data, nil
}

// mtool runs one of the mtools on the stick's first partition.
func (s Stick) mtool(ctx context.Context, in []byte, name string, args ...string) ([]byte, error) {
	img := s.Folder.StickImage(s.Server)
	offset, err := espOffset(img)
	if err != nil {
		return nil, err
	}
	const at = "/mnt"
	p := place.Place{Root: s.Tools, Binds: []place.Bind{{From: filepath.Dir(img), To: at}}}
	cmd, err := p.Command(name, append([]string{"-i", fmt.Sprintf("%s/%s@@%d", at, filepath.Base(img), offset)}, args...)...)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, "MTOOLS_SKIP_CHECK=1")
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errOut
	if err := p.Start(cmd); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(errOut.Bytes()))
	}
	return out.Bytes(), nil
}

func espOffset(image string) (int64, error) {
	f, err := os.Open(image)
	if err != nil {
		return 0, fmt.Errorf("open the install stick: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("open the install stick: %w", err)
	}
	parts, err := gpt.Read(f, st.Size(), 512)
	if err != nil {
		return 0, fmt.Errorf("install stick %s: %w", image, err)
	}
	p, ok := gpt.Find(parts, layout.InstallESP)
	if !ok {
		return 0, fmt.Errorf("install stick %s has no partition %s; was it made from an atlas-VERSION.img?", image, layout.InstallESP)
	}
	return p.Start, nil
}
