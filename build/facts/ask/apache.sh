# With all modules loaded but a second way of serving: a directive is known where its module is.
. /etc/apache2/envvars
export APACHE_RUN_DIR=/tmp APACHE_LOCK_DIR=/tmp APACHE_LOG_DIR=/tmp
{
	printf 'ServerRoot /etc/apache2\nDefaultRuntimeDir /tmp\nServerName atlas\nErrorLog /tmp/error.log\n'
	cd /etc/apache2/mods-available || exit 1
	for f in mpm_prefork.load $(ls ./*.load | grep -v mpm_ | sed 's/^\.\///'); do grep -i '^LoadModule' "$f"; done | awk '!seen[$2]++'
} >/tmp/all.conf
# One that needs another goes to the end; one that cannot be loaded at all, out.
for n in $(seq 40); do
	apache2 -f /tmp/all.conf -L >/tmp/listing 2>/tmp/said && break
	line=$(sed -n 's/.* on line \([0-9]*\) of \/tmp\/all.conf.*/\1/p' /tmp/said | head -n 1)
	[ -n "$line" ] || break
	[ "$n" -gt 20 ] || sed -n "${line}p" /tmp/all.conf >>/tmp/all.conf
	sed -i "${line}d" /tmp/all.conf
done
cat /tmp/said >&2
echo "@@ version"; apache2 -v
echo "@@ listing"; cat /tmp/listing
echo "@@ modules"; ls /etc/apache2/mods-available | sed -n 's/\.load$//p'
