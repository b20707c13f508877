# Prints what Apache and PHP make of their files: effective.sh. Of Apache all that its files say, includes and conditions worked off; of PHP all
# settings, with a tilde where no php.ini says them.
set -eu
here=/usr/lib/atlas/packs/apache
export APACHE_CONFDIR=/etc/apache2
set +u
. /etc/apache2/envvars
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
info=
[ -e /etc/apache2/mods-enabled/info.load ] || info='LoadModule info_module /usr/lib/apache2/modules/mod_info.so'
/usr/sbin/apache2 ${info:+-C "$info"} -t -D DUMP_CONFIG >"$work/said" 2>"$work/err" || { cat "$work/err" >&2; exit 1; }
/usr/bin/perl "$here/effective.pl" <"$work/said"
/usr/sbin/apache2 -t -D DUMP_MODULES 2>/dev/null | awk '$2 ~ /^\((static|shared)\)$/ { sub(/^php[0-9.]*_module/, "php_module", $1); print $1 }' | sort -u | tr '\n' ' ' | sed 's/^/modules = /; s/ *$/\n/'

for dir in /etc/php/*/apache2; do
	[ -e "$dir/php.ini" ] || continue
	v=${dir#/etc/php/}
	PHPRC=$dir/php.ini PHP_INI_SCAN_DIR=$dir/conf.d "/usr/bin/php${v%/apache2}" "$here/effective.php" "$dir"
done
