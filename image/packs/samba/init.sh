# Makes the directories of the shares, and once the administrator's Samba account from the hash that the installer left: nobody
# has to type the password twice. Run at every start.
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

hash=/etc/atlas/admin.nt
if [ -s "$hash" ] && id admin >/dev/null 2>&1 && ! pdbedit -L -u admin >/dev/null 2>&1; then
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
fi
