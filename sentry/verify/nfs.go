package verify

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"sayasystems.com/atlas/sentry/verify/nfs3"
)

// NFS uses an export as an office computer does: it asks the port mapper, mounts by NFSv3, writes a file, reads it back and deletes it as
// the verification account, whose number the server is told. What root makes must not become root's. Parameters: export
// ("/srv/atlas-verify-nfs"), uid ("610"), and for tests portmap ("111").
func NFS(ctx context.Context, t Target) Outcome {
	export := t.Param("export", "/srv/atlas-verify-nfs")
	uid, err := strconv.ParseUint(t.Param("uid", "610"), 10, 32)
	port, err2 := strconv.ParseUint(t.Param("portmap", "111"), 10, 16)
	if err := errors.Join(err, err2); err != nil {
		return misnamed("uid or portmap is not a number")
	}
	next := fmt.Sprintf("On %s look at the file shares (NFS): `atlas service list`, its log, and /etc/exports.", t.Server)
	user := nfs3.Cred{UID: uint32(uid), GID: uint32(uid)}
	e, err := nfs3.Mount(ctx, t.Address, export, user, nfs3.Ports{Map: int(port)})
	if err != nil {
		return failed("NFS", err, next)
	}
	defer func() { _ = e.Close() }()
	// One name for each observer: what an interrupted run left behind is written over.
	name := "probe-" + t.Observer + ".txt"
	if err := nfsRoundTrip(e, name); err != nil {
		return failed(export, err, next)
	}
	root := "probe-" + t.Observer + "-root.txt"
	f, err := e.As(nfs3.Cred{}).Create(root, 0o600)
	switch {
	case errors.Is(err, fs.ErrPermission):
	case err != nil:
		return failed(export+": as root", err, next)
	default:
		if err := e.Remove(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failed(export, err, next)
		}
		if f.UID == 0 {
			return alarm(export+": what a client's root writes belongs to the server's root", "Take no_root_squash off the export: /etc/exports, /etc/exports.d; then `atlas service reload nfs`.")
		}
	}
	return Outcome{Status: Pass, Evidence: export + ": wrote, read back and deleted a file; a client's root is nobody here"}
}

func nfsRoundTrip(e *nfs3.Export, name string) error {
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
