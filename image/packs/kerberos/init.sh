# Makes the realm's database: init.sh REALM FQDN. It is made aside with its master key, complete, and moved into place once it is
# on disk: a power cut leaves none or a whole one. Then each service of this server gets its key in /etc/krb5.keytab.
set -eu
realm=$1
data=/var/lib/krb5kdc
keytab=/etc/krb5.keytab
umask 077

if [ ! -s "$data/realm" ]; then
	rm -rf "$data.new"
	mkdir -m 0700 "$data.new"
	sed "s|$data/|$data.new/|" /etc/krb5kdc/atlas.conf >"$data.new/atlas.conf"
	sed "s|^include /etc/krb5kdc/atlas.conf|include $data.new/atlas.conf|" /etc/krb5kdc/kdc.conf >"$data.new/kdc.conf"
	# Nobody ever types the master key's password: the stash file beside the database has the key.
	master=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
	printf '%s\n%s\n' "$master" "$master" | KRB5_KDC_PROFILE=$data.new/kdc.conf kdb5_util -r "$realm" create -s >/dev/null
	rm "$data.new/atlas.conf" "$data.new/kdc.conf"
	echo "$realm" >"$data.new/realm"
	sync -f "$data.new"
	if [ -d "$data" ] && [ -n "$(find "$data" -mindepth 1 -maxdepth 1 ! -name lost+found)" ]; then
		# Something that this script has not made: not ours to delete.
		mv "$data" "$data.unknown-$(date +%Y%m%d-%H%M%S)"
	else
		rm -rf "$data"
	fi
	mv "$data.new" "$data"
	sync -f "$data"
fi

have=$(cat "$data/realm")
if [ "$have" != "$realm" ]; then
	echo "kerberos: the accounts in $data are of realm $have, but the site's realm is now $realm." \
		"Set the domain in /etc/atlas/site.yaml back, or move $data and $keytab away and start again for an empty realm" >&2
	exit 1
fi

# The keys of services on this server; those that are there stay, as clients may hold tickets for them.
principals=$(kadmin.local -r "$realm" listprincs)
keys=
[ ! -s "$keytab" ] || keys=$(klist -k "$keytab")
new=
for service in host ldap nfs HTTP imap smtp; do
	p=$service/$2@$realm
	if ! printf '%s\n' "$principals" | grep -qxF "$p"; then
		kadmin.local -r "$realm" addprinc -randkey "$p" >/dev/null
	elif printf '%s\n' "$keys" | grep -qF " $p"; then
		continue
	fi
	[ -n "$new" ] || { rm -f "$keytab.new"; [ ! -s "$keytab" ] || cp -p "$keytab" "$keytab.new"; }
	new=yes
	kadmin.local -r "$realm" ktadd -k "$keytab.new" -norandkey "$p" >/dev/null
done
if [ -n "$new" ]; then
	chmod 0600 "$keytab.new"
	sync "$keytab.new"
	mv "$keytab.new" "$keytab"
	sync /etc
fi
