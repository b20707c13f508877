# The rows that the verifier reads, as SQL: rows.sh dump|load. What probes write (table scratch) is left out.
set -eu
sql() { mariadb --no-defaults --socket=/run/mysqld/mysqld.sock --user=root --batch --skip-column-names --raw --default-character-set=utf8mb4 "$@"; }
case "${1-}" in
dump)
	echo "SELECT CONCAT('INSERT INTO atlas_verify.canary (id, text) VALUES (', id, ', ', REPLACE(QUOTE(text), CHAR(10), CHAR(92, 110)), ');') FROM atlas_verify.canary ORDER BY id;" | sql
	;;
load)
	{
		echo 'START TRANSACTION; DELETE FROM atlas_verify.canary;'
		grep '^INSERT INTO atlas_verify\.canary ' || :
		echo 'COMMIT;'
	} | sql
	;;
*)
	echo "usage: rows.sh dump|load" >&2
	exit 2
	;;
esac
