# Has Apache look at its configuration. PHP passes over what is wrong in a php.ini, and says nothing.
set -eu
export APACHE_CONFDIR=/etc/apache2
set +u
. /etc/apache2/envvars
set -u
exec /usr/sbin/apache2 -t
