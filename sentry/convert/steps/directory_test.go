package steps

import "testing"

func TestOpenLDAP(t *testing.T) { nested(t, "openldap", OpenLDAP()) }

func TestKerberos(t *testing.T) { nested(t, "kerberos", Kerberos()) }

func TestSendmail(t *testing.T) { nested(t, "sendmail", Sendmail()) }
