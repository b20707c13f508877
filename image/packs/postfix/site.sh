# Sets what depends on site.yaml in main.cf, and makes what Postfix needs on the set: site.sh FQDN ADDRESS ADDRESS6. Run at every
# start; what is right already is not touched, so that all other edits stay and the file's date says when somebody changed it.
set -eu
# With a broken main.cf postconf says so, in Postfix's own words.
set_key() {
	[ "$(postconf -h "$1")" = "$2" ] || postconf -e "$1=$2"
}
interfaces=127.0.0.1
grep -q '^00000000000000000000000000000001 ' /proc/net/if_inet6 2>/dev/null && interfaces="$interfaces, ::1"
interfaces="$interfaces, $2"
[ -z "$3" ] || interfaces="$interfaces, $3"
set_key myhostname "$1"
set_key inet_interfaces "$interfaces"
# The server has other addresses too; mail goes out from the one that the site is known by.
set_key smtp_bind_address "$2"
set_key smtp_bind_address6 "$3"
sync /etc/postfix/main.cf

[ -e /etc/mailname ] || echo "${1#*.}" >/etc/mailname
if [ ! -e /etc/aliases.db ] || [ /etc/aliases -nt /etc/aliases.db ]; then
	newaliases
	sync /etc/aliases.db
fi
# Makes the queue's directories, and looks at owners and modes.
/usr/sbin/postfix check
