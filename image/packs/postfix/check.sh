# Has Postfix look at main.cf and master.cf. It looks for its addresses at every step, and the check may run where they are not: it gets a
# copy that names none. postconf tells names that nobody knows and lines that cannot be read. smtpd, run by hand, refuses wrong values;
# it says so to syslog only, so that is where its words are fetched from. That a later release will not have a setting is no mistake yet: it works.
set -eu
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 0755 "$work"
cp -R /etc/postfix "$work/postfix"
name=check-${work##*.}
# syslog_name alone is read too late for mistakes in main.cf itself.
export MAIL_CONFIG="$work/postfix" MAIL_LOGTAG="$name"
{
	echo
	echo 'inet_interfaces = 127.0.0.1'
	echo 'inet_protocols = ipv4'
	echo 'smtp_bind_address ='
	echo 'smtp_bind_address6 ='
	echo 'maillog_file ='
	echo "syslog_name = $name"
} >>"$work/postfix/main.cf"
# Postfix waits for a second where a file has just been written, in case that somebody is at it.
find "$work/postfix" -type f -exec touch -d '1 minute ago' {} +
said=$({ postconf -n && postconf -M && postconf -P; } 2>&1 >/dev/null | grep -vE 'overriding earlier entry|support for parameter .* will be removed') || :
if [ -n "$said" ]; then
	echo "$said" | sed "s|$work|/etc|g" >&2
	exit 1
fi

ip link set lo up 2>/dev/null || :
status=0
greeting=$(timeout 10 setpriv --reuid postfix --regid postfix --clear-groups /usr/lib/postfix/sbin/smtpd -S </dev/null 2>&1) || status=$?
case "$greeting" in
220*) exit 0 ;;
esac
sleep 0.2 # until it is written
said=$(tail -n 200 /var/log/mail.log 2>/dev/null | grep -F "$name" | grep -E '(error|fatal|panic): ' | sed -e "s|^.*$name[^:]*: |postfix: |" -e "s|$work|/etc|g") || :
# It has read everything, and waits for a daemon of Postfix that does not answer: the one that runs may be broken by what is live now, and going
# back from that is what is asked for.
[ -n "$said" ] || [ "$status" != 124 ] || exit 0
echo "${said:-postfix: smtpd does not start with this main.cf; see /var/log/mail.log}" >&2
exit 1
