package verify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
)

// Kerberos logs in at a key distribution centre as the verification account and asks for a ticket for a service (RFC 4120, 3.1 and
// 3.3), anew each time. Before, it tries a wrong password, which must be refused. Parameters: realm (needed), user ("atlas-verify"),
// service ("host/NAME", needed), port ("88", by TCP).
func Kerberos(ctx context.Context, t Target) Outcome {
	realm, service := t.Param("realm", ""), t.Param("service", "")
	if realm == "" || service == "" {
		return misnamed("the probe names no realm or no service")
	}
	if t.Secret == "" {
		return noSecret(t)
	}
	next := fmt.Sprintf("On %s look at Kerberos: `atlas service list`, and its log.", t.Server)
	cfg := kerberosConfig(realm, net.JoinHostPort(t.Address, t.Param("port", "88")))
	done := make(chan Outcome, 1)
	// The library knows no context; each of its waits ends by itself within 5 s.
	go func() { done <- tickets(ctx, cfg, t, realm, service, next) }()
	select {
	case out := <-done:
		return out
	case <-ctx.Done():
		return failed("log in", ctx.Err(), next)
	}
}

// kerberosConfig is a krb5.conf that knows one realm, and asks nobody else for it.
func kerberosConfig(realm, kdc string) *config.Config {
	c := config.New()
	c.LibDefaults.DefaultRealm = realm
	c.LibDefaults.DNSLookupKDC, c.LibDefaults.DNSLookupRealm = false, false
	c.LibDefaults.UDPPreferenceLimit = 1 // TCP only
	c.Realms = []config.Realm{{Realm: realm, KDC: []string{kdc}}}
	return c
}

func tickets(ctx context.Context, cfg *config.Config, t Target, realm, service, next string) Outcome {
	user := t.Param("user", "atlas-verify")
	begin(ctx, stepRefusal)
	err := kerberosLogin(cfg, user, realm, "wrong-"+rand.Text(), nil)
	switch {
	case err == nil:
		return alarm("a wrong password for "+user+" was accepted", "Correct Kerberos's settings at once: passwords are not checked.")
	case !isWrongPassword(err):
		return failed("log in as "+user, err, next)
	}
	var key string
	begin(ctx, stepLogin)
	err = kerberosLogin(cfg, user, realm, t.Secret, func(cl *client.Client) error {
		begin(ctx, stepTransaction)
		tkt, _, err := cl.GetServiceTicket(service)
		if err != nil {
			return fmt.Errorf("no ticket for %s: %w", service, plain(err))
		}
		key = tkt.SName.PrincipalNameString()
		return nil
	})
	if err != nil {
		return failed("log in as "+user, err, next)
	}
	return Outcome{Status: Pass, Evidence: fmt.Sprintf("logged in as %s@%s, got a ticket for %s; a wrong password is refused", user, realm, key)}
}

// kerberosLogin logs in with a client of its own, without cached tickets, and then calls with.
func kerberosLogin(cfg *config.Config, user, realm, password string, with func(*client.Client) error) error {
	cl := client.NewWithPassword(user, realm, password, cfg, client.DisablePAFXFAST(true))
	defer cl.Destroy()
	if err := cl.Login(); err != nil {
		return plain(err)
	}
	if with == nil {
		return nil
	}
	return with(cl)
}

// plain takes from the library's error its own words for where in its code it happened.
func plain(err error) error {
	if err == nil {
		return nil
	}
	s := err.Error()
	for _, mark := range []string{"KRB Error: ", "dial tcp ", "AS Exchange Error: "} {
		if i := strings.Index(s, mark); i >= 0 {
			return errors.New(s[i:])
		}
	}
	return err
}

// isWrongPassword tells whether the centre answered that the password is wrong (RFC 4120, 7.5.9: KDC_ERR_PREAUTH_FAILED), or gave
// what cannot be read with it. The library passes the answer on as text only.
func isWrongPassword(err error) bool {
	s := err.Error()
	return strings.Contains(s, errorcode.Lookup(errorcode.KDC_ERR_PREAUTH_FAILED)) || strings.Contains(s, "password/keytab incorrect")
}
