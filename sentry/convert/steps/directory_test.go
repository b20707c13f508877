package steps

import "testing"

func TestOpenLDAP(t *testing.T) { nested(t, "openldap", OpenLDAP()) }

func TestKerberos(t *testing.T) { nested(t, "kerberos", Kerberos()) }
