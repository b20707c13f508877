# Makes the directories of the shares, and once the administrator's Samba account from the hash that the installer left: nobody
# has to type the password twice. init.sh SITE; May be run again at any time.
set -eu
umask 022
mkdir -p /var/lib/samba/private /var/cache/samba /var/log/samba
chmod 0700 /var/lib/samba/private
if [ ! -d /srv/office ]; then
	mkdir -p /srv/office
	chgrp users /srv/office
	chmod 2775 /srv/office
fi
mkdir -p /srv/atlas-verify
chown atlas-verify: /srv/atlas-verify
chmod 0700 /srv/atlas-verify

# The machine's SID stands in accounts and access lists. It is derived from the site's UUID, so that every set of the site has the
# same; only before the first account, since accounts keep the SID that they were made with.
if [ ! -e /var/lib/samba/private/secrets.tdb ] && [ ! -e /var/lib/samba/private/passdb.tdb ]; then
	x=$(printf 'samba machine %s' "$1" | sha256sum)
	net setlocalsid "S-1-5-21-$((0x$(printf %.8s "$x")))-$((0x$(printf %s "$x" | cut -c9-16)))-$((0x$(printf %s "$x" | cut -c17-24)))"
fi

hash=/etc/atlas/admin.nt
passdb=/var/lib/samba/private/passdb.tdb
seen=/var/lib/samba/private/atlas-admin # the hash that was looked at last: asking passdb costs more than all else here
if [ -s "$hash" ] && { [ ! -s "$passdb" ] || ! cmp -s "$hash" "$seen"; } && id admin >/dev/null 2>&1; then
	cp "$hash" "$seen.new"
	chmod 0600 "$seen.new"
	if pdbedit -L -u admin >/dev/null 2>&1; then
		mv "$seen.new" "$seen"
		exit 0
	fi
	nt=$(tr -d '[:space:]' <"$hash" | tr a-f A-F)
	case "$nt" in *[!0-9A-F]*) echo "samba: $hash does not hold an NT hash" >&2; exit 1 ;; esac
	[ ${#nt} -eq 32 ] || { echo "samba: $hash does not hold an NT hash" >&2; exit 1; }
	# By a file that only root reads: arguments are seen by everyone.
	umask 077
	import=$(mktemp /run/atlas-samba.XXXXXX)
	trap 'rm -f "$import"' EXIT
	printf 'admin:%s:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:%s:[U          ]:LCT-%08X:\n' "$(id -u admin)" "$nt" "$(date +%s)" >"$import"
	pdbedit -i "smbpasswd:$import" >/dev/null
	pdbedit -L -u admin >/dev/null
	mv "$seen.new" "$seen"
fi
