# Has Apache look at its configuration. PHP passes over what is wrong in a php.ini, and says nothing.
set -eu
export APACHE_CONFDIR=/etc/apache2
set +u
. /etc/apache2/envvars
set -u
mkdir -p /run/lock # the checker has a /run of its own
mkdir -p "$APACHE_RUN_DIR" "$APACHE_LOCK_DIR"
exec /usr/sbin/apache2 -t
