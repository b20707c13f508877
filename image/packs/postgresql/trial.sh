# Starts PostgreSQL with the converted configuration on an empty database of its own, and asks it one thing: trial.sh. Run as postgres. Its
# checker starts it too, but without what is loaded at the start, and without data.
set -eu
umask 077
export LC_ALL=C
. /usr/lib/atlas/packs/postgresql/version.sh
bin=/usr/lib/postgresql/$v/bin
work=$(mktemp -d)
"$bin/initdb" --pgdata="$work/data" --encoding=UTF8 --locale=C.UTF-8 --auth=trust --wal-segsize=1 --no-sync >"$work/made" 2>&1 ||
	{ echo "postgresql: no empty database can be made for the trial" >&2; tail -n 5 "$work/made" >&2; exit 75; }
[ ! -s "$data/postgresql.auto.conf" ] || cp "$data/postgresql.auto.conf" "$work/data/"
# Only what a rule for the trial says: who may log in has been looked at by the checker.
echo 'local all all trust' >"$work/hba"
"$bin/postgres" -D "$work/data" -c "config_file=$conf/postgresql.conf" -c data_directory="$work/data" -c external_pid_file="$work/pid" -c hba_file="$work/hba" \
	-c listen_addresses= -c unix_socket_directories="$work" -c shared_buffers=4MB -c huge_pages=off -c min_wal_size=2MB -c max_wal_size=16MB -c fsync=off \
	-c archive_mode=off -c logging_collector=off -c log_destination=stderr -c log_line_prefix= -c lc_messages=C >"$work/said" 2>&1 &
pid=$!
trap 'kill -QUIT $pid 2>/dev/null; wait $pid 2>/dev/null || :' EXIT
fail() {
	echo "postgresql: $1" >&2
	w=$(grep -E '^(FATAL|ERROR|PANIC|WARNING|HINT|DETAIL)' "$work/said" | head -n 10) || :
	[ -n "$w" ] || w=$(tail -n 10 "$work/said")
	echo "$w" >&2
	! grep -qE 'Read-only file system|No space left|Cannot allocate memory|Errcode: (28|30)' "$work/said" || exit 75 # of the trial's own place
	exit 1
}
n=0
until got=$(psql -XAtq -h "$work" -U postgres -d postgres -c 'SELECT 6*7' 2>/dev/null); do
	n=$((n + 1))
	kill -0 $pid 2>/dev/null || fail "it ends when it is started with this configuration:"
	[ $n -lt 1000 ] || fail "it does not answer with this configuration:"
	sleep 0.1
done
[ "$got" = 42 ] || fail "it does not answer with this configuration:"
