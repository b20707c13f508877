# Gives the verification account its password, and its share a file to read. May be run again at any time.
set -eu
secret=/etc/atlas/verify.secret
[ -s "$secret" ] || { echo "samba: $secret is missing; the installer makes it" >&2; exit 1; }
passdb=/var/lib/samba/private/passdb.tdb
seen=/var/lib/samba/private/atlas-verify # the secret that passdb has
if [ ! -s "$passdb" ] || ! cmp -s "$secret" "$seen"; then
	password=$(cat "$secret")
	printf '%s\n%s\n' "$password" "$password" | smbpasswd -s -a atlas-verify >/dev/null
	cp "$secret" "$seen.new"
	chmod 0600 "$seen.new"
	mv "$seen.new" "$seen"
fi
# What the probe reads must have come with the disk set.
canary=/srv/atlas-verify/canary.txt
if [ ! -s "$canary" ]; then
	echo 'atlas-verify share file 1' >"$canary.new"
	chown atlas-verify: "$canary.new"
	sync "$canary.new"
	mv "$canary.new" "$canary"
fi
