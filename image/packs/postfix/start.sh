# Runs Postfix. The master tells /dev/log only what it cannot read, so its files are looked at before, for the service's own log.
set -eu
postconf -h inet_interfaces >/dev/null
postconf -M >/dev/null
exec /usr/lib/postfix/sbin/master -c /etc/postfix -s
