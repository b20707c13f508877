package verify

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// LDAP uses a directory as a program of the office does: it asks for TLS (RFC 4511, 4.14), logs in as the verification account,
// reads that account's entry, writes a value into one of its attributes and reads it back. Before, it tries what must not work: a
// password in clear, a wrong password, and a search without login. Each observer keeps one value of its own in it.
// Parameters: base (needed; "dc=office,dc=example"), user (the account's DN, needed), attribute (that is written, "description";
// it must take several values), port ("389", with tls "636"), tls ("start": TLS from the start, LDAPS, in the place of STARTTLS).
func LDAP(ctx context.Context, t Target) Outcome {
	base, user := t.Param("base", ""), t.Param("user", "")
	if base == "" || user == "" {
		return misnamed("the probe names no base or no user")
	}
	if t.Secret == "" {
		return noSecret(t)
	}
	p := ldapProbe{t: t, base: base, user: user, close: func() {}, next: fmt.Sprintf("On %s look at the directory: `atlas service list`, and its log.", t.Server)}
	defer func() { p.close() }()
	out := p.run(ctx)
	if ctx.Err() != nil && out.Status == Fail {
		return failed("the directory", context.DeadlineExceeded, p.next)
	}
	return out
}

type ldapProbe struct {
	t          Target
	conn       *ldap.Conn
	close      func() // of conn
	base, user string
	next       string
	warnings   []string
}

func (p *ldapProbe) run(ctx context.Context) Outcome {
	connect := func() (Outcome, bool) { return p.connect(ctx) }
	as := func(name string, step func() (Outcome, bool)) func() (Outcome, bool) {
		return func() (Outcome, bool) { begin(ctx, name); return step() }
	}
	// STARTTLS gets a connection of its own: the library refuses it while it still tidies up after an answer.
	steps := []func() (Outcome, bool){
		connect, as(stepTransaction, p.contexts), as(stepRefusal, p.anonymous), as(stepRefusal, p.clear), connect, as(stepTLS, p.startTLS),
		as(stepRefusal, p.wrong), as(stepLogin, p.login),
	}
	if p.t.Param("tls", "") == "start" {
		steps = []func() (Outcome, bool){
			connect, as(stepTLS, p.fromStart), as(stepTransaction, p.contexts), as(stepRefusal, p.anonymous), as(stepRefusal, p.wrong), as(stepLogin, p.login),
		}
	}
	for _, step := range steps {
		if out, ok := step(); !ok {
			return out
		}
	}
	begin(ctx, stepTransaction)
	if err := p.roundTrip(); err != nil {
		return failed("own entry", err, p.next)
	}
	seen := "logged in with TLS, wrote and read back the own entry; a wrong password is refused"
	if len(p.warnings) > 0 {
		return warning(seen+"; but "+strings.Join(p.warnings, ", and "), "If this is not wanted, correct the directory's access rules (olcAccess, olcSecurity).")
	}
	if p.t.Param("tls", "") == "start" {
		return Outcome{Status: Pass, Evidence: seen + ", as is a search without login"}
	}
	return Outcome{Status: Pass, Evidence: seen + ", as are a password in clear and a search without login"}
}

func (p *ldapProbe) connect(ctx context.Context) (Outcome, bool) {
	p.close()
	port := p.port()
	raw, err := dial(ctx, "tcp", p.t.Address, port)
	if err != nil {
		return failed("connect to port "+port, err, p.next), false
	}
	// The library's waits know no context: closing the connection ends them all.
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	if p.t.Param("tls", "") == "start" {
		p.conn = ldap.NewConn(tls.Client(raw, p.tls()), true) // it shakes hands with the first request; see fromStart
	} else {
		p.conn = ldap.NewConn(raw, false)
	}
	p.conn.Start()
	p.close = func() {
		stop()
		_ = p.conn.Close()
	}
	return Outcome{}, true
}

func (p *ldapProbe) port() string {
	if p.t.Param("tls", "") == "start" {
		return p.t.Param("port", "636")
	}
	return p.t.Param("port", "389")
}

// tls does not look at the certificate, which names the site and not the address that is probed: whether the service answers is asked here,
// and kind tls asks about the certificate.
func (p *ldapProbe) tls() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: p.t.Hostname, MinVersion: tls.VersionTLS12}
}

// fromStart shakes hands by asking for nothing.
func (p *ldapProbe) fromStart() (Outcome, bool) {
	if _, err := p.search("", "1.1"); err != nil {
		return failed("TLS on port "+p.port(), err, "On "+p.t.Server+" look at the certificate: `atlas-certificate check`."), false
	}
	return Outcome{}, true
}

// contexts compares what the directory says it holds (RFC 4512, 5.1) with the base: they differ once the site's domain was changed.
func (p *ldapProbe) contexts() (Outcome, bool) {
	res, err := p.search("", "namingContexts")
	if err != nil {
		return failed("ask for the root entry", err, p.next), false
	}
	if len(res) == 0 {
		return Outcome{}, true // hidden; the login will tell
	}
	have := res[0].GetAttributeValues("namingContexts")
	if len(have) == 0 || slices.ContainsFunc(have, func(s string) bool { return strings.EqualFold(s, p.base) }) {
		return Outcome{}, true
	}
	return failure(
		fmt.Sprintf("the directory holds %s, but the site's domain makes it %s", strings.Join(have, ", "), p.base),
		"Set the domain in /etc/atlas/site.yaml back, or move the entries; the log of openldap says how to begin an empty directory.",
	), false
}

// anonymous looks what somebody who has not logged in can read.
func (p *ldapProbe) anonymous() (Outcome, bool) {
	for _, dn := range []string{p.user, p.base} {
		res, err := p.search(dn)
		if err != nil {
			return failed("search without login", err, p.next), false
		}
		for _, e := range res {
			if len(e.GetAttributeValues("userPassword")) > 0 {
				return alarm("anybody can read "+dn+" with its password's hash", "Correct the directory's access rules (olcAccess)."), false
			}
		}
		if len(res) > 0 {
			p.warnings = append(p.warnings, "anybody can read "+dn+" without login")
			break
		}
	}
	return Outcome{}, true
}

// clear tries a password, which is a wrong one, without TLS.
func (p *ldapProbe) clear() (Outcome, bool) {
	err := p.conn.Bind(p.user, "wrong-"+rand.Text())
	switch {
	case err == nil:
		return p.accepted(), false
	case ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials):
		p.warnings = append(p.warnings, "passwords are taken in clear")
	case !isLDAPAnswer(err):
		return failed("login without TLS", err, p.next), false
	}
	return Outcome{}, true
}

func (p *ldapProbe) startTLS() (Outcome, bool) {
	if err := p.conn.StartTLS(p.tls()); err != nil {
		return failed("STARTTLS", err, "On "+p.t.Server+" look at the certificate: `atlas-certificate check`; then restart openldap."), false
	}
	return Outcome{}, true
}

func (p *ldapProbe) wrong() (Outcome, bool) {
	err := p.conn.Bind(p.user, "wrong-"+rand.Text())
	switch {
	case err == nil:
		return p.accepted(), false
	case ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials):
		return Outcome{}, true
	}
	return failed("login with a wrong password", err, p.next), false
}

func (p *ldapProbe) accepted() Outcome {
	return alarm("a wrong password for "+p.user+" was accepted", "Correct the directory's settings at once: passwords are not checked.")
}

func (p *ldapProbe) login() (Outcome, bool) {
	if err := p.conn.Bind(p.user, p.t.Secret); err != nil {
		return failed("log in as "+p.user, err, p.next), false
	}
	return Outcome{}, true
}

// roundTrip replaces this observer's value of an attribute of the own entry and reads it back.
func (p *ldapProbe) roundTrip() error {
	attribute := p.t.Param("attribute", "description")
	read := func() ([]string, error) {
		res, err := p.search(p.user, attribute)
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if len(res) != 1 {
			return nil, errors.New("is not there, or cannot be read by its owner")
		}
		return res[0].GetEqualFoldAttributeValues(attribute), nil
	}
	have, err := read()
	if err != nil {
		return err
	}
	want := "probe of " + p.t.Observer + " " + rand.Text()
	m := ldap.NewModifyRequest(p.user, nil)
	for _, v := range have {
		if strings.HasPrefix(v, "probe of "+p.t.Observer+" ") {
			m.Delete(attribute, []string{v})
		}
	}
	m.Add(attribute, []string{want})
	if err := p.conn.Modify(m); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if have, err = read(); err != nil {
		return err
	}
	if !slices.Contains(have, want) {
		return errors.New("reads back other than written")
	}
	return nil
}

// search reads one entry; an answer that there is none, or that one may not ask, is none.
func (p *ldapProbe) search(dn string, attributes ...string) ([]*ldap.Entry, error) {
	res, err := p.conn.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", attributes, nil))
	if err != nil && isLDAPAnswer(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return res.Entries, nil
}

// isLDAPAnswer tells whether err is an answer of a directory that refuses (RFC 4511, 4.1.9), rather than of the network or library.
func isLDAPAnswer(err error) bool {
	return ldap.IsErrorAnyOf(err,
		ldap.LDAPResultNoSuchObject, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultInappropriateAuthentication,
		ldap.LDAPResultConfidentialityRequired, ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultUnwillingToPerform,
		ldap.LDAPResultAuthMethodNotSupported, ldap.LDAPResultOperationsError)
}
