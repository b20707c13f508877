# Has Apache read its configuration again, if it is right: with a wrong one it would end. apache2ctl would ask systemctl, which asks us.
set -eu
export APACHE_CONFDIR=/etc/apache2
set +u
. /etc/apache2/envvars
if ! said=$(/usr/sbin/apache2 -t 2>&1); then
	echo "$said" >&2
	echo "apache: the configuration is wrong and was not taken up; correct it, then reload again" >&2
	exit 1
fi
kill -USR1 "$(cat "$APACHE_PID_FILE")"
