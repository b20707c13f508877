# Has Kerberos read its configuration, the server's after the clients'. There is no checker: any program reads the whole of it, and says
# so when it cannot. klist also reads the keytab.
set -eu
[ -s /etc/krb5.keytab ] || { echo "kerberos: /etc/krb5.keytab is missing or empty; restart the service to have it made" >&2; exit 1; }
KRB5_CONFIG=/etc/krb5.conf:/etc/krb5kdc/kdc.conf klist -k /etc/krb5.keytab >/dev/null
