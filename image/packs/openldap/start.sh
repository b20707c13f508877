# Runs slapd on the service address: start.sh ADDRESS [ADDRESS6]. Of /etc/default/slapd it reads SLAPD_OPTIONS and KRB5_KTNAME;
# not SLAPD_SERVICES, since Debian's default listens on all addresses, and other services have theirs on this machine.
set -eu
SLAPD_OPTIONS=
[ ! -r /etc/default/slapd ] || . /etc/default/slapd
[ -z "${KRB5_KTNAME-}" ] || export KRB5_KTNAME
urls="ldap://$1/ ldaps://$1/ ldap://127.0.0.1/ ldaps://127.0.0.1/ ldapi:///"
[ -z "${2-}" ] || urls="$urls ldap://[$2]/ ldaps://[$2]/"
# -d none: in the foreground, and errors to standard error.
exec /usr/sbin/slapd -d none -u openldap -g openldap -F /etc/ldap/slapd.d -h "$urls" $SLAPD_OPTIONS
