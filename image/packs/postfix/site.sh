# Sets what depends on site.yaml in main.cf, and makes what Postfix needs on the set: site.sh FQDN ADDRESS ADDRESS6. Run at every
# start; what is right already is not touched, so that all other edits stay and the file's date says when somebody changed it.
set -eu
set_key() {
	now=$(postconf -h "$1") # with a broken main.cf it says so, in Postfix's own words, and this ends here
	[ "$now" = "$2" ] || postconf -e "$1=$2"
}
interfaces=127.0.0.1
grep -q '^00000000000000000000000000000001 ' /proc/net/if_inet6 2>/dev/null && interfaces="$interfaces, ::1"
interfaces="$interfaces, $2"
address6=$3
# Postfix does not start with an address that is not there: without IPv6 there is still mail.
if [ -n "$address6" ] && [ -z "$(ip -6 -o addr show to "$address6")" ]; then
	echo "postfix: no interface has $address6, so there is no mail by IPv6; once it is there: atlas service restart postfix" >&2
	address6=
fi
[ -z "$address6" ] || interfaces="$interfaces, $address6"
set_key myhostname "$1"
set_key inet_interfaces "$interfaces"
# The server has other addresses too; mail goes out from the one that the site is known by.
set_key smtp_bind_address "$2"
set_key smtp_bind_address6 "$address6"
sync /etc/postfix/main.cf

[ -e /etc/mailname ] || echo "${1#*.}" >/etc/mailname
if [ ! -e /etc/aliases.db ] || [ /etc/aliases -nt /etc/aliases.db ]; then
	newaliases
	sync /etc/aliases.db
fi
# Makes the queue's directories. Only then: Debian's also copies files for a chroot, which is not used, and takes its time.
for dir in active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace; do
	[ -d "/var/spool/postfix/$dir" ] && continue
	/usr/sbin/postfix check
	break
done
