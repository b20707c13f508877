package verify

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/cloudsoda/go-smb2"
)

// SMB uses a share as an office computer does: it logs on as the verification account, reads the file that is there (parameter
// file), writes one of its own, reads it back and deletes it. Before, it tries a wrong password, which must be refused. Parameters: share ("verify"), user
// ("atlas-verify"), port ("445"), file (a file that must be there; "" = none), contains (text in it), write ("no" = only read).
func SMB(ctx context.Context, t Target) Outcome {
	if t.Secret == "" {
		return noSecret(t)
	}
	share, user := t.Param("share", "verify"), t.Param("user", "atlas-verify")
	next := fmt.Sprintf("On %s look at the file service: `atlas service list`, and its log.", t.Server)
	if out, ok := wrongPassword(ctx, t, user, next); !ok {
		return out
	}
	s, err := logon(ctx, t, user, t.Secret)
	if err != nil {
		return failed("log on as "+user, err, next)
	}
	defer func() { _ = s.Logoff() }()
	m, err := s.Mount(share)
	if err != nil {
		return failed("open share "+share, err, next)
	}
	defer func() { _ = m.Umount() }()
	m = m.WithContext(ctx)
	seen := "share " + share + ": "
	if file := t.Param("file", ""); file != "" {
		data, err := m.ReadFile(file)
		if err != nil {
			return failed("read "+file, err, next)
		}
		if text := t.Param("contains", ""); !bytes.Contains(data, []byte(text)) {
			return Outcome{Fail, fmt.Sprintf("%s%s holds %s, without “%s”", seen, file, size(len(data)), text), next}
		}
		seen += "read " + file + ", "
	}
	if t.Param("write", "yes") == "no" {
		return Outcome{Status: Pass, Evidence: strings.TrimRight(seen, ", :") + "; a wrong password is refused"}
	}
	if err := roundTrip(m, "probe-"+t.Observer); err != nil {
		return failed("share "+share, err, next)
	}
	return Outcome{Status: Pass, Evidence: seen + "wrote, read back and deleted a file; a wrong password is refused"}
}

func wrongPassword(ctx context.Context, t Target, user, next string) (Outcome, bool) {
	s, err := logon(ctx, t, user, "wrong-"+rand.Text())
	switch {
	case err == nil:
		_ = s.Logoff()
		return Outcome{Fail, "a wrong password for " + user + " was accepted", "Correct the file service's settings: guests must not be let in (`map to guest`)."}, false
	case isRefused(err):
		return Outcome{}, true
	}
	return failed("connect", err, next), false
}

func logon(ctx context.Context, t Target, user, password string) (*smb2.Session, error) {
	addr := net.JoinHostPort(t.Address, t.Param("port", "445"))
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// The library's own waits all obey ctx but the write of a request; the deadline covers those.
	if d, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(d)
	} else {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	}
	s, err := (&smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: user, Password: password}}).DialConn(ctx, conn, addr)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s.WithContext(ctx), nil
}

// isRefused tells whether the server answered that name or password are wrong (STATUS_LOGON_FAILURE, MS-ERREF 2.3.1), rather than
// not at all.
func isRefused(err error) bool {
	const logonFailure = 0xC000006D
	var r *smb2.ResponseError
	return (errors.As(err, &r) && r.Code == logonFailure) || errors.Is(err, os.ErrPermission)
}

func roundTrip(m *smb2.Share, prefix string) (err error) {
	// What an interrupted run of this observer left behind.
	old, err := m.ReadDir("")
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	for _, f := range old {
		if strings.HasPrefix(f.Name(), prefix+"-") {
			_ = m.Remove(f.Name())
		}
	}
	name := prefix + "-" + strings.ToLower(rand.Text()[:8]) + ".txt"
	want := []byte("ATLAS probe " + rand.Text() + "\n")
	if err := m.WriteFile(name, want, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if rm := m.Remove(name); rm != nil && err == nil {
			err = fmt.Errorf("delete %s: %w", name, rm)
		}
	}()
	got, err := m.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is gone after writing it", name)
	case err != nil:
		return fmt.Errorf("read %s back: %w", name, err)
	case !bytes.Equal(got, want):
		return fmt.Errorf("%s reads back other than written (%d bytes for %d)", name, len(got), len(want))
	}
	return nil
}

func size(n int) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f KB", float64(n)/1024)
}
