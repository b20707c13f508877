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
	"slices"
	"strings"
	"time"

	"github.com/cloudsoda/go-smb2"
	"github.com/jcmturner/gokrb5/v8/client"
)

// SMB uses a share as an office computer does: it logs on as the verification account, by NTLM or with a Kerberos ticket, reads the file that
// is there, writes one of its own, reads it back and deletes it. A wrong password must be refused, and so must who has no account (a guest).
// Parameters: share ("verify"), user ("atlas-verify"), port ("445"), file (a file that must be there; "" = none), contains (text in it),
// write ("no" = only read, "refused" = must not be possible), auth ("kerberos"; else NTLM), and for Kerberos realm, service
// ("cifs/NAME", both needed) and kdc_port ("88"); closed (a share that is not for the verification account: it warns if that opens it).
func SMB(ctx context.Context, t Target) Outcome {
	if t.Secret == "" {
		return noSecret(t)
	}
	p := smbProbe{
		t: t, share: t.Param("share", "verify"), user: t.Param("user", "atlas-verify"),
		next: fmt.Sprintf("On %s look at the file service: `atlas service list`, and its log.", t.Server),
	}
	if t.Param("auth", "") == "kerberos" && (t.Param("realm", "") == "" || t.Param("service", "") == "") {
		return misnamed("the probe names no realm or no service")
	}
	for _, refusal := range []func(context.Context) (Outcome, bool){p.wrongPassword, p.guest} {
		if out, ok := refusal(ctx); !ok {
			return out
		}
	}
	s, err := p.logon(ctx, t.Secret)
	if err != nil {
		return failed("log on as "+p.user, err, p.next)
	}
	defer func() { _ = s.Logoff() }()
	begin(ctx, stepTransaction)
	m, err := s.Mount(p.share)
	if err != nil {
		return failed("open share "+p.share, err, p.next)
	}
	defer func() { _ = m.Umount() }()
	out := p.use(m.WithContext(ctx))
	if closed := t.Param("closed", ""); closed != "" && out.Status == Pass {
		begin(ctx, stepRefusal)
		switch other, err := s.Mount(closed); {
		case err == nil:
			_ = other.Umount()
			return warning(out.Evidence+"; but the verification account, which has no rights, may open share "+closed, "If the share is not meant for everybody who has an account, see its `valid users`.")
		case !errors.Is(err, os.ErrPermission) && !smbSays(err, statusBadName):
			return failed("try share "+closed, err, p.next)
		}
		out.Evidence += ", and so is share " + closed
	}
	return out
}

type smbProbe struct {
	t                 Target
	share, user, next string
}

// use reads and writes, as far as the share is for it.
func (p *smbProbe) use(m *smb2.Share) Outcome {
	seen := "share " + p.share + ": "
	if file := p.t.Param("file", ""); file != "" {
		data, err := m.ReadFile(file)
		if err != nil {
			return failed("read "+file, err, p.next)
		}
		if text := p.t.Param("contains", ""); !bytes.Contains(data, []byte(text)) {
			return failure(fmt.Sprintf("%s%s holds %s, without “%s”", seen, file, size(len(data)), text), p.next)
		}
		seen += "read " + file + ", "
	}
	refused := "; a wrong password and guests are refused"
	if p.t.Param("auth", "") == "kerberos" {
		refused = "; logged on with a Kerberos ticket; guests are refused"
	}
	switch p.t.Param("write", "yes") {
	case "no":
		return Outcome{Status: Pass, Evidence: strings.TrimRight(seen, ", :") + refused}
	case "refused":
		name := "probe-" + p.t.Observer + "-" + strings.ToLower(rand.Text()[:8]) + ".txt"
		err := m.WriteFile(name, []byte("ATLAS probe\n"), 0o600)
		switch {
		case err == nil:
			_ = m.Remove(name)
			return alarm(seen+"the verification account may write, and must not", "Correct the share's rights: `read only`, `write list`, and the directory's own.")
		case !errors.Is(err, os.ErrPermission) && !smbSays(err, statusReadOnly):
			return failed("share "+p.share+": try to write", err, p.next)
		}
		return Outcome{Status: Pass, Evidence: strings.TrimRight(seen, ", :") + refused + ", and so is writing"}
	}
	if err := roundTrip(m, "probe-"+p.t.Observer); err != nil {
		return failed("share "+p.share, err, p.next)
	}
	return Outcome{Status: Pass, Evidence: seen + "wrote, read back and deleted a file" + refused}
}

// wrongPassword must be refused. With Kerberos that is the key distribution centre's, which kind kerberos asks.
func (p *smbProbe) wrongPassword(ctx context.Context) (Outcome, bool) {
	if p.t.Param("auth", "") == "kerberos" {
		return Outcome{}, true
	}
	s, err := p.ntlm(ctx, stepRefusal, p.user, "wrong-"+rand.Text())
	switch {
	case err == nil:
		_ = s.Logoff()
		return alarm("a wrong password for "+p.user+" was accepted", "Correct the file service's settings: guests must not be let in (`map to guest`)."), false
	case isRefused(err):
		return Outcome{}, true
	}
	return failed("connect", err, p.next), false
}

// guest tries the share as somebody who has no account, and as nobody at all. A server may let both in to be asked for its name; the share
// must stay closed.
func (p *smbProbe) guest(ctx context.Context) (Outcome, bool) {
	for _, who := range []struct{ user, password, words string }{
		{"guest-" + strings.ToLower(rand.Text()[:8]), rand.Text(), "somebody without an account (a guest)"}, {"", "", "somebody without a name"},
	} {
		s, err := p.ntlm(ctx, stepRefusal, who.user, who.password)
		if err != nil {
			if isRefused(err) || smbSays(err, statusAccountRestriction, statusAccountDisabled, statusNoSuchUser) || isUnsigned(err) {
				continue
			}
			return failed("log on as "+who.words, err, p.next), false
		}
		m, err := s.Mount(p.share)
		if err == nil {
			_ = m.Umount()
		}
		_ = s.Logoff()
		if err == nil {
			return alarm(who.words+" is let into share "+p.share, "Correct the share's settings: `guest ok = no`, and `map to guest = never`."), false
		}
	}
	return Outcome{}, true
}

func (p *smbProbe) logon(ctx context.Context, password string) (*smb2.Session, error) {
	if p.t.Param("auth", "") != "kerberos" {
		return p.ntlm(ctx, stepLogin, p.user, password)
	}
	realm := p.t.Param("realm", "")
	cl := client.NewWithPassword(p.user, realm, password, kerberosConfig(realm, net.JoinHostPort(p.t.Address, p.t.Param("kdc_port", "88"))), client.DisablePAFXFAST(true))
	begin(ctx, stepLogin)
	if err := cl.Login(); err != nil {
		return nil, plain(err)
	}
	return p.session(ctx, stepLogin, &smb2.Krb5Initiator{Client: cl, TargetSPN: p.t.Param("service", "")})
}

func (p *smbProbe) ntlm(ctx context.Context, step, user, password string) (*smb2.Session, error) {
	return p.session(ctx, step, &smb2.NTLMInitiator{User: user, Password: password})
}

func (p *smbProbe) session(ctx context.Context, step string, who smb2.Initiator) (*smb2.Session, error) {
	port := p.t.Param("port", "445")
	conn, err := dial(ctx, "tcp", p.t.Address, port)
	if err != nil {
		return nil, err
	}
	begin(ctx, step)
	// The library's own waits all obey ctx but the write of a request; the deadline covers those.
	if d, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(d)
	} else {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	}
	s, err := (&smb2.Dialer{Initiator: who}).DialConn(ctx, conn, net.JoinHostPort(p.t.Address, port))
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s.WithContext(ctx), nil
}

// What a server answers (MS-ERREF 2.3.1).
const (
	statusLogonFailure       = 0xC000006D
	statusAccountRestriction = 0xC000006E
	statusAccountDisabled    = 0xC0000072
	statusNoSuchUser         = 0xC0000064
	statusBadName            = 0xC00000CC // there is no such share
	statusReadOnly           = 0xC00000A2 // media write protected
)

func smbSays(err error, codes ...uint32) bool {
	var r *smb2.ResponseError
	return errors.As(err, &r) && slices.Contains(codes, r.Code)
}

// isRefused tells whether the server answered that name or password are wrong, rather than not at all.
func isRefused(err error) bool {
	return smbSays(err, statusLogonFailure) || errors.Is(err, os.ErrPermission)
}

// isUnsigned tells that the server would let a guest in, and the library does not go: it cannot sign what a guest says.
func isUnsigned(err error) bool {
	var r *smb2.InvalidResponseError
	return errors.As(err, &r) && strings.Contains(r.Message, "support signing")
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
