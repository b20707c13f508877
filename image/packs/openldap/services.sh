# The accounts of programs in the directory: services.sh dump|load BASE. They stand below ou=services, the verifier's among them; people
# and all other entries are data. What the probes write into the verifier's entry (description) is left out.
set -eu
umask 077
export LC_ALL=C
here=/usr/lib/atlas/packs/openldap
dump() {
	ldapsearch -Q -LLL -Y EXTERNAL -H ldapi:/// -o ldif-wrap=no -b "ou=services,$1" | perl "$here/export.pl" |
		perl -00 -pe 's/^description:.*\n//mg if /^dn: uid=atlas-verify,/'
}
case "${1-}" in
dump) dump "$2" ;;
load)
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	cat >"$work/want"
	grep -qx "dn: ou=services,$2" "$work/want" || { echo "openldap: the text to load is not whole: it does not have ou=services,$2" >&2; exit 1; }
	dump "$2" >"$work/have"
	if cmp -s "$work/want" "$work/have"; then exit 0; fi
	perl "$here/changes.pl" "$work/have" "$work/want" >"$work/changes"
	ldapmodify -Q -Y EXTERNAL -H ldapi:/// -f "$work/changes" >/dev/null
	dump "$2" >"$work/have"
	cmp -s "$work/want" "$work/have" || { echo "openldap: the accounts of programs could not be made equal to those given" >&2; exit 1; }
	;;
*)
	echo "usage: services.sh dump|load BASE" >&2
	exit 2
	;;
esac
