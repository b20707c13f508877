# Starts upsd, or with the third argument lets it read its files again. It listens at the service address, which upsd.conf cannot know and
# cannot include: a directory of its own below /run has the administrator's files, and upsd.conf with the addresses before it.
set -eu
dir=/run/nut-conf
for f in ups.conf upsd.users; do
	ln -sfn "/etc/nut/$f" "$dir/$f"
done
umask 027
{
	printf '# Written at each start, from the addresses of the site and /etc/nut/upsd.conf.\nLISTEN %s 3493\nLISTEN 127.0.0.1 3493\n' "$1"
	[ -z "$2" ] || printf 'LISTEN %s 3493\n' "$2"
	cat /etc/nut/upsd.conf
} >"$dir/upsd.conf.new"
chgrp nut "$dir/upsd.conf.new"
mv "$dir/upsd.conf.new" "$dir/upsd.conf"
if [ "${3:-}" = reload ]; then
	exec pkill -HUP -x upsd
fi
NUT_CONFPATH=$dir exec /usr/lib/nut/upsd -F -u nut
