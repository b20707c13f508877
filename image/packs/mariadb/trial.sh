# Starts MariaDB with the converted configuration on an empty database of its own, and asks it one thing: trial.sh. Run as mysql. Its checker
# reads names and kinds of values only. What depends on the room that there is on the set is made small.
set -eu
work=$(mktemp -d)
said=$work/said.err # another suffix it would add to
words() { w=$(grep -E '\[ERROR\]|error' "$said" | head -n 10) || :; [ -n "$w" ] || w=$(tail -n 10 "$said"); echo "$w" >&2; }
lack='Read-only file system|No space left|Cannot allocate memory|Errcode: (28|30)' # of the trial's own place: nothing that speaks against the configuration
fail() {
	echo "mariadb: $1" >&2
	words
	! grep -qE "$lack" "$said" || exit 75
	exit 1
}
small='--innodb-log-file-size=4M --innodb-buffer-pool-size=16M --innodb-data-file-path=ibdata1:5M:autoextend --innodb-autoextend-increment=1 --innodb-undo-tablespaces=0'
mariadb-install-db --no-defaults --basedir=/usr --datadir="$work/data" --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve --force \
	$small >"$said" 2>&1 || { echo "mariadb: no empty database can be made for the trial" >&2; words; exit 75; }
: >"$said"
/usr/sbin/mariadbd $small --datadir="$work/data" --innodb-data-home-dir="$work/data" --innodb-log-group-home-dir="$work/data" --innodb-undo-directory="$work/data" \
	--aria-log-dir-path="$work/data" --socket="$work/socket" --pid-file="$work/pid" --log-error="$said" --skip-networking --key-buffer-size=1M \
	--skip-log-bin --skip-slave-start --wsrep-on=OFF --tmpdir=/tmp >>"$said" 2>&1 &
pid=$!
trap 'kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null || :' EXIT
n=0
until got=$(mariadb --no-defaults --socket="$work/socket" --user=root --batch --skip-column-names -e 'SELECT 6*7' 2>>"$work/client"); do
	n=$((n + 1))
	kill -0 $pid 2>/dev/null || fail "it ends when it is started with this configuration:"
	[ $n -lt 1000 ] || fail "it does not answer with this configuration:"
	sleep 0.1
done
[ "$got" = 42 ] || fail "it does not answer with this configuration:"
if grep '\[ERROR\]' "$said" | grep -qvE "$lack"; then fail "it starts with this configuration, and says:"; fi
