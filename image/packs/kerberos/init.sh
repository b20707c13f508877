# Writes the addresses to listen on, and makes the realm's database: init.sh REALM FQDN ADDRESS [ADDRESS6]. The database is made
# aside with its master key, complete, and moved into place once it is on disk: a power cut leaves none or a whole one. Then
# each service of this server gets its key in /etc/krb5.keytab.
set -eu
realm=$1
data=/var/lib/krb5kdc
keytab=/etc/krb5.keytab
listen=$3
[ -z "${4-}" ] || listen="$3 [$4]" # no template can say this
umask 077

# Before anything is written: with the old files kadmin.local still reaches the accounts.
have=$realm
[ ! -s "$data/realm" ] || have=$(cat "$data/realm")
if [ "$have" != "$realm" ]; then
	echo "kerberos: the accounts in $data are of realm $have, but the site's realm is now $realm." \
		"Set the domain in /etc/atlas/site.yaml back, or move $data and $keytab away and start again for an empty realm" >&2
	exit 1
fi

conf=/etc/krb5kdc/atlas.conf
cat >"$conf.new" <<END
# Written at each start; edit /etc/atlas/site.yaml for domain and address, and kdc.conf for everything else. On the service address
# only: other services have theirs on this machine.
[kdcdefaults]
	kdc_listen = $listen
	kdc_tcp_listen = $listen

[realms]
	$realm = {
		database_module = atlas
		database_name = $data/principal
		key_stash_file = $data/stash
		acl_file = /etc/krb5kdc/kadm5.acl
		kadmind_listen = $listen
		kpasswd_listen = $listen
		# No words are forbidden as passwords; without this line every tool says so at every start.
		dict_file = /dev/null
		max_life = 10h
		max_renewable_life = 7d
		default_principal_flags = +preauth
	}
END
if cmp -s "$conf.new" "$conf"; then
	rm "$conf.new"
else
	chmod 0644 "$conf.new"
	sync "$conf.new"
	mv "$conf.new" "$conf"
fi

# LMDB survives a power cut in the middle of a write, the older DB2 may not; Debian 12 has no other.
lmdb=/usr/lib/x86_64-linux-gnu/krb5/plugins/kdb/klmdb.so

# kind KIND FILE writes what kind of database it is. Without the time of each login, a login writes nothing.
kind() {
	printf '# Made with the database; it cannot be read as another kind.\n[dbmodules]\n\tatlas = {\n\t\tdb_library = %s\n\t\tdisable_last_success = true\n\t}\n' "$1" >"$2"
}

# The set comes from a server with a newer release: the accounts are made anew from their dump, beside the database. database.conf is replaced
# last, so a cut starts over.
if [ -s "$data/realm" ] && [ ! -e "$lmdb" ] && grep -q klmdb "$data/database.conf"; then
	if [ ! -s "$data/last.dump" ]; then
		echo "kerberos: the accounts are in a form that this release does not read (LMDB), and $data/last.dump, from which they could be made anew, is missing." \
			"Put the disk set into a server with Debian 13 once: it writes the dump" >&2
		exit 1
	fi
	rm -f "$data"/principal "$data"/principal.ok "$data"/principal.kadm5 "$data"/principal.kadm5.lock
	kind db2 "$data/database.conf.new"
	printf 'include %s\ninclude %s/database.conf.new\n' "$conf" "$data" >"$data/kdc.conf.new"
	{
		echo 'kdb5_util load_dump version 7'
		tail -n +2 "$data/last.dump"
	} >"$data/load.new"
	KRB5_KDC_PROFILE=$data/kdc.conf.new kdb5_util -r "$realm" load "$data/load.new"
	rm "$data/kdc.conf.new" "$data/load.new"
	sync -f "$data"
	mv "$data/database.conf.new" "$data/database.conf"
	sync "$data"
	rm -f "$data"/principal*.mdb "$data"/principal*.mdb-lock
	echo "kerberos: the accounts were made anew from their dump, in a form that this release reads"
fi

if [ ! -s "$data/realm" ]; then
	rm -rf "$data.new"
	mkdir -m 0700 "$data.new"
	library=db2
	[ ! -e "$lmdb" ] || library=klmdb
	kind "$library" "$data.new/database.conf"
	sed "s|$data/|$data.new/|" "$conf" >"$data.new/atlas.conf"
	printf 'include %s/atlas.conf\ninclude %s/database.conf\n' "$data.new" "$data.new" >"$data.new/kdc.conf"
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

[ -s "$data/last.dump" ] || sh "${0%/*}/database.sh" dump "$realm" >/dev/null
