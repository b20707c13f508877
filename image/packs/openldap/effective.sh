# Prints what OpenLDAP's configuration says, from its files: effective.sh
set -eu
export LC_ALL=C
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
slapcat -n 0 -F /etc/ldap/slapd.d -o ldif-wrap=no >"$work/said" 2>"$work/err" || { cat "$work/err" >&2; exit 1; }
perl /usr/lib/atlas/packs/openldap/effective.pl <"$work/said"
