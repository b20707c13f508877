# Makes the mailbox and the password file of the verification account, and once the file for the administrator's own settings:
# init.sh RELEASE. Run at every start.
set -eu
umask 022
local=/etc/dovecot/local.conf
if [ ! -e "$local" ]; then
	cp "/usr/lib/atlas/packs/dovecot/debian-$1-local.conf" "$local.new"
	sync "$local.new"
	mv "$local.new" "$local"
fi

# 610 is atlas-verify, which may be missing in an image without file shares.
home=/var/lib/atlas-verify
mkdir -p "$home"
chown 610:610 "$home"
chmod 0700 "$home"

users=/etc/dovecot/atlas-verify
secret=/etc/atlas/verify.secret
new=
if [ -s "$secret" ]; then
	# A new salt only for a new password. The password goes through standard input, never through an argument list.
	salt=$(sed -n 's/^atlas-verify:{SHA512-CRYPT}\$6\$\([^$]*\)\$.*/\1/p' "$users" 2>/dev/null || :)
	hash=$(tr -d '\n' <"$secret" | openssl passwd -6 ${salt:+-salt "$salt"} -stdin)
	new="atlas-verify:{SHA512-CRYPT}$hash:610:610::$home::"
else
	echo "dovecot: $secret is missing, so mail cannot be verified; the installer makes it" >&2
fi
umask 077
printf '%s\n' "$new" >"$users.new"
if cmp -s "$users.new" "$users"; then
	rm "$users.new"
else
	chown root:dovecot "$users.new"
	chmod 0640 "$users.new"
	sync "$users.new"
	mv "$users.new" "$users"
fi
