package verify

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"sayasystems.com/atlas/sentry/verify/nfs"
)

// NFS uses an export as an office computer does: it asks the port mapper and mounts by NFSv3, or goes to the export by NFSv4, writes a file,
// reads it back and deletes it as the verification account, whose number the server is told. What root makes must not become root's.
// It speaks both by itself: a mount by the kernel could hang this server with the other. Parameters: export
// ("/srv/atlas-verify-nfs"), uid ("610"), version ("3"; "4" is 4.0), port (of version 4, "2049"), and for tests portmap ("111").
func NFS(ctx context.Context, t Target) Outcome {
	export := t.Param("export", "/srv/atlas-verify-nfs")
	uid, err := strconv.ParseUint(t.Param("uid", "610"), 10, 32)
	portmap, err2 := strconv.ParseUint(t.Param("portmap", "111"), 10, 16)
	port, err3 := strconv.ParseUint(t.Param("port", "2049"), 10, 16)
	if err := errors.Join(err, err2, err3); err != nil {
		return misnamed("uid or a port is not a number")
	}
	p := nfsProbe{
		t: t, export: export, user: nfs.Cred{UID: uint32(uid), GID: uint32(uid)},
		next: fmt.Sprintf("On %s look at the file shares (NFS): `atlas service list`, its log, and /etc/exports.", t.Server),
	}
	switch t.Param("version", "3") {
	case "3":
		return p.three(ctx, int(portmap))
	case "4":
		return p.four(ctx, int(port))
	}
	return misnamed("the probe's version of NFS is neither 3 nor 4")
}

type nfsProbe struct {
	t            Target
	export, next string
	user         nfs.Cred
}

func (p *nfsProbe) rootStays() Outcome {
	return alarm(p.export+": what a client's root writes belongs to the server's root", "Take no_root_squash off the export: /etc/exports, /etc/exports.d; then `atlas service reload nfs`.")
}

func (p *nfsProbe) three(ctx context.Context, portmap int) Outcome {
	begin(ctx, stepConnect)
	e, err := nfs.Mount(ctx, p.t.Address, p.export, p.user, nfs.Ports{Map: portmap})
	if err != nil {
		return failed("NFS", err, p.next)
	}
	defer func() { _ = e.Close() }()
	begin(ctx, stepTransaction)
	// One name for each observer: what an interrupted run left behind is written over.
	if err := nfsRoundTrip(e, "probe-"+p.t.Observer+".txt"); err != nil {
		return failed(p.export, err, p.next)
	}
	begin(ctx, stepRefusal)
	root := "probe-" + p.t.Observer + "-root.txt"
	f, err := e.As(nfs.Cred{}).Create(root, 0o600)
	switch {
	case errors.Is(err, fs.ErrPermission):
	case err != nil:
		return failed(p.export+": as root", err, p.next)
	default:
		if err := e.Remove(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failed(p.export, err, p.next)
		}
		if f.UID == 0 {
			return p.rootStays()
		}
	}
	return Outcome{Status: Pass, Evidence: p.export + ": wrote, read back and deleted a file; a client's root is nobody here"}
}

func nfsRoundTrip(e *nfs.Export, name string) error {
	want := []byte("ATLAS probe " + rand.Text() + "\n")
	f, err := e.Create(name, 0o600)
	if err != nil {
		return err
	}
	if err := e.Write(f, want); err != nil {
		return err
	}
	// By its name, so that the directory is asked as well.
	if f, err = e.Lookup(name); err != nil {
		return err
	}
	got, err := e.Read(f, len(want)+1)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s reads back other than written (%d bytes for %d)", name, len(got), len(want))
	}
	return e.Remove(name)
}

func (p *nfsProbe) four(ctx context.Context, port int) Outcome {
	begin(ctx, stepConnect)
	name := "atlas probe of " + p.t.Observer
	c, err := nfs.Mount4(ctx, p.t.Address, p.export, name, p.user, port)
	if err != nil {
		return failed("NFS 4", err, p.next)
	}
	defer func() { _ = c.Close() }()
	begin(ctx, stepTransaction)
	err = nfs4RoundTrip(c, "probe4-"+p.t.Observer+".txt")
	if errors.Is(err, nfs.Grace) {
		return Outcome{Status: Skipped, Evidence: "NFS 4 lets clients that were there before its start take up again what they held, before it takes new ones"}
	}
	if err != nil {
		return failed(p.export, err, p.next)
	}
	begin(ctx, stepRefusal)
	file := "probe4-" + p.t.Observer + "-root.txt"
	r, err := nfs.Mount4(ctx, p.t.Address, p.export, name+" as root", nfs.Cred{}, port)
	var f *nfs.Open
	if err == nil {
		defer func() { _ = r.Close() }()
		if f, err = r.Create(file, 0o600); err == nil {
			_ = r.CloseFile(f)
			err = errors.Join(err, c.Remove(file))
		}
	}
	switch {
	case f != nil && (f.Owner == "0" || f.Owner == "root" || strings.HasPrefix(f.Owner, "root@")):
		return p.rootStays()
	case err != nil && !errors.Is(err, fs.ErrPermission):
		return failed(p.export+": as root", err, p.next)
	}
	return Outcome{Status: Pass, Evidence: p.export + " by NFS 4: wrote, read back and deleted a file; a client's root is nobody here"}
}

func nfs4RoundTrip(c *nfs.Client, name string) error {
	want := []byte("ATLAS probe " + rand.Text() + "\n")
	f, err := c.Create(name, 0o600)
	if err != nil {
		return err
	}
	if err := c.Write(f, want); err != nil {
		return err
	}
	got, err := c.Read(f, len(want)+1)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s reads back other than written (%d bytes for %d)", name, len(got), len(want))
	}
	return errors.Join(c.CloseFile(f), c.Remove(name))
}
