# Makes the directory for a base: init.sh BASE DOMAIN FQDN. Data and configuration are made aside, complete, and moved into place
# once they are on disk, the configuration last: a power cut leaves none or a whole one.
set -eu
base=$1
domain=$2
here=/usr/lib/atlas/packs/openldap
conf=/etc/ldap/slapd.d
data=/var/lib/ldap

# The defaults of LDAP clients on this server; the administrator's from then on.
if [ ! -e /etc/ldap/ldap.conf ]; then
	printf '# Defaults of LDAP clients on this server; see ldap.conf(5).\nBASE\t%s\nURI\tldap://%s\nTLS_CACERT\t/etc/ssl/atlas/trusted.crt\n' \
		"$base" "$3" >/etc/ldap/ldap.conf.new
	sync /etc/ldap/ldap.conf.new
	mv /etc/ldap/ldap.conf.new /etc/ldap/ldap.conf
fi

if [ -e "$conf/cn=config.ldif" ]; then
	# LDIF folds long lines.
	have=$(cat "$conf"/cn=config/olcDatabase=*.ldif | sed -e ':a' -e '$!N' -e 's/\n //' -e 'ta' -e 'P' -e 'D' | sed -n 's/^olcSuffix: //p')
	if ! printf '%s\n' "$have" | grep -qixF "$base"; then
		echo "openldap: the directory holds $(echo $have), but the site's domain is now $domain; entries stay as they are." \
			"Set the domain in /etc/atlas/site.yaml back, or move $conf and $data away and start again for an empty directory with $base" >&2
	fi
	exit 0
fi

# as_openldap COMMAND…: what it makes must be its own.
as_openldap() { setpriv --reuid openldap --regid openldap --init-groups "$@"; }
# fill FILE DATA: the file with its blanks filled in, without the comments of this pack.
fill() {
	sed -e '/^#/d' -e "s|@BASE@|$base|g" -e "s|@DOMAIN@|$domain|g" -e "s|@DC@|${domain%%.*}|g" -e "s|@DATA@|$2|g" "$here/$1" |
		if [ -n "$hash" ]; then sed -e "s|@ROOTPW@|{CRYPT}$hash|"; else sed -e '/@ROOTPW@/d'; fi
}

# The administrator's password: its crypt hash says the same here.
hash=$(sed -n 's/^admin:\([^:]*\):.*/\1/p' /etc/shadow)
case $hash in
'$'*) ;;
*)
	echo "openldap: the account admin has no password, so cn=admin,$base gets none; give it one as root with ldapmodify -Y EXTERNAL -H ldapi:///" >&2
	hash=
	;;
esac

umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# make CONF DATA: an empty configuration at CONF for data at DATA.
make() {
	rm -rf "$1"
	install -d -m 0700 -o openldap -g openldap "$1"
	fill config.ldif "$2" >"$work/config.ldif"
	# Through standard input: the file has a password's hash and is root's.
	as_openldap slapadd -n 0 -F "$1" <"$work/config.ldif"
}

if [ ! -s "$data/data.mdb" ]; then
	rm -rf "$data.new"
	install -d -m 0700 -o openldap -g openldap "$data.new"
	chmod 0755 "$work" && chown openldap "$work"
	make "$work/slapd.d" "$data.new"
	fill data.ldif "$data" | as_openldap slapadd -n 1 -F "$work/slapd.d"
	sync -f "$data.new"
	if [ -d "$data" ] && [ -n "$(find "$data" -mindepth 1 -maxdepth 1 ! -name lost+found)" ]; then
		# Something that is no database: not ours to delete.
		mv "$data" "$data.unknown-$(date +%Y%m%d-%H%M%S)"
	else
		rm -rf "$data"
	fi
	mv "$data.new" "$data"
	sync -f "$data"
fi

make "$conf.new" "$data"
sync -f "$conf.new"
if [ -d "$conf" ] && [ -n "$(find "$conf" -mindepth 1 -maxdepth 1)" ]; then
	mv "$conf" "$conf.unknown-$(date +%Y%m%d-%H%M%S)"
else
	rm -rf "$conf"
fi
mv "$conf.new" "$conf"
sync -f "$conf"
