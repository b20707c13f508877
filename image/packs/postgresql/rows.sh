# The rows that the verifier reads: rows.sh dump|load. Run as postgres. What probes write (table scratch) is left out.
set -eu
sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname=atlas_verify "$@"; }
case "${1-}" in
dump) sql -c 'COPY (SELECT id, text FROM canary ORDER BY id) TO STDOUT' ;;
load)
	sql -1 -c 'CREATE TEMP TABLE want (LIKE canary) ON COMMIT DROP' -c 'COPY want FROM STDIN' -c 'DELETE FROM canary WHERE id NOT IN (SELECT id FROM want)' \
		-c 'INSERT INTO canary SELECT * FROM want ON CONFLICT (id) DO UPDATE SET text = EXCLUDED.text WHERE canary.text <> EXCLUDED.text'
	;;
*)
	echo "usage: rows.sh dump|load" >&2
	exit 2
	;;
esac
