# Becomes Apache with the settings of /etc/apache2/envvars, which apache2ctl reads too: run.sh
set -eu
export APACHE_CONFDIR=/etc/apache2 # envvars looks at it
set +u
. /etc/apache2/envvars
exec /usr/sbin/apache2 -DFOREGROUND ${APACHE_ARGUMENTS:-}
