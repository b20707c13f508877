# The directory's configuration with its schema: export.sh dump|load. dump reads the files, whether or not slapd runs. A running slapd
# would not see other files, and cn=config lets not everything be deleted; so load makes a whole new configuration aside, has it
# checked, puts it in place and starts slapd anew. People's entries are data, and are neither printed nor touched.
set -eu
umask 077
export LC_ALL=C
here=/usr/lib/atlas/packs/openldap
conf=/etc/ldap/slapd.d
as_openldap() { setpriv --reuid openldap --regid openldap --init-groups "$@"; }
dump() { slapcat -n 0 -F "$1" -o ldif-wrap=no | perl "$here/export.pl"; }

case "${1-}" in
dump) dump "$conf" ;;
load)
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	cat >"$work/want"
	grep -qx 'dn: cn=config' "$work/want" || { echo "openldap: the text to load is not whole: it does not have cn=config" >&2; exit 1; }
	dump "$conf" >"$work/have" 2>/dev/null || :
	if cmp -s "$work/want" "$work/have"; then exit 0; fi
	# A new database needs a place; the places of those that are gone are data and stay.
	sed -n 's/^olcDbDirectory: //p' "$work/want" | while read -r dir; do
		case "$dir" in
		/var/lib/*) [ -d "$dir" ] || install -d -m 0700 -o openldap -g openldap "$dir" ;;
		esac
	done
	rm -rf "$conf.new" "$conf.old"
	install -d -m 0700 -o openldap -g openldap "$conf.new"
	as_openldap slapadd -n 0 -F "$conf.new" <"$work/want"
	as_openldap slaptest -Q -u -F "$conf.new"
	sync -f "$conf.new"
	mv "$conf" "$conf.old"
	mv "$conf.new" "$conf"
	rm -rf "$conf.old"
	sync -f "$conf"
	atlas service restart openldap >/dev/null
	dump "$conf" >"$work/have"
	cmp -s "$work/want" "$work/have" || { echo "openldap: the configuration could not be made equal to the one given" >&2; exit 1; }
	;;
*)
	echo "usage: export.sh dump|load" >&2
	exit 2
	;;
esac
