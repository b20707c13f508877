# Makes the mailbox and the password file of the verification account, and once the administrator's file and the certificate's links:
# init.sh RELEASE ADDRESS ADDRESS6. May be run again at any time.
set -eu
umask 022
local=/etc/dovecot/local.conf
if [ ! -e "$local" ]; then
	cp "/usr/lib/atlas/packs/dovecot/debian-$1-local.conf" "$local.new"
	sync "$local.new"
	mv "$local.new" "$local"
fi

# Debian's 10-ssl.conf names these two, which its package makes of a certificate that every image would have in common.
install -d -m 0700 /etc/dovecot/private
for f in crt:pem key:key; do
	link=/etc/dovecot/private/dovecot.${f#*:}
	[ -e "$link" ] || ln -sf "/etc/ssl/atlas/site.${f%:*}" "$link"
done

# The site's addresses. Dovecot does not start with one that is not there: without IPv6 people still have their mail.
listen="127.0.0.1 $2"
if [ -n "$3" ]; then
	if [ -n "$(ip -6 -o addr show to "$3")" ]; then
		listen="$listen $3"
	else
		echo "dovecot: no interface has $3, so there is no mail by IPv6; once it is there: atlas service restart dovecot" >&2
	fi
fi
conf=/etc/dovecot/conf.d/98-atlas-address.conf
printf '# Written at each start; edit /etc/atlas/site.yaml instead.\nlisten = %s\n' "$listen" >"$conf.new"
if cmp -s "$conf.new" "$conf"; then
	rm "$conf.new"
else
	sync "$conf.new"
	mv "$conf.new" "$conf"
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
	# nodelay: a wrong password is refused at once; the wait that stops guessing would make every probe slow.
	new="atlas-verify:{SHA512-CRYPT}$hash:610:610::$home::nodelay=y"
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
