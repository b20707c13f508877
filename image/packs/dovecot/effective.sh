# Prints what Dovecot makes of its configuration: effective.sh
exec /usr/bin/perl /usr/lib/atlas/packs/dovecot/effective.pl
