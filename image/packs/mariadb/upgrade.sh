# Brings the tables of an older MariaDB to this version before it serves: without that, tables with versions of rows show none of them, and
# mariadb-upgrade while clients write would meet their locks. Only we reach the server meanwhile.
set -eu
data=/var/lib/mysql
now=$(mariadbd --no-defaults --version | sed -n 's/.*Ver \([0-9]*\.[0-9]*\)\..*/\1/p')
[ -n "$now" ] || { echo "mariadb: mariadbd does not tell its version" >&2; exit 1; }
was=$(sed -n '1s/^\([0-9]*\.[0-9]*\)\..*/\1/p' "$data/mariadb_upgrade_info" 2>/dev/null || sed -n '1s/^\([0-9]*\.[0-9]*\)\..*/\1/p' "$data/mysql_upgrade_info" 2>/dev/null || :)
[ "$was" != "$now" ] || exit 0
work=$(mktemp -d)
chown mysql "$work"
trap 'rm -rf "$work"' EXIT
mariadbd --user=mysql --datadir="$data" --skip-networking --socket="$work/s" --pid-file="$work/pid" --skip-log-bin --skip-slave-start >"$work/log" 2>&1 &
pid=$!
n=0
until mariadb-admin --no-defaults --socket="$work/s" ping >/dev/null 2>&1; do
	n=$((n + 1))
	if [ $n = 1500 ] || ! kill -0 $pid 2>/dev/null; then
		tail -n 5 "$work/log" >&2
		kill $pid 2>/dev/null || :
		exit 1
	fi
	sleep 0.2
done
status=0
mariadb-upgrade --no-defaults --socket="$work/s" --force >"$work/said" 2>&1 || status=$?
kill $pid
wait $pid || :
if [ $status != 0 ]; then
	tail -n 5 "$work/said" >&2
	exit 1
fi
