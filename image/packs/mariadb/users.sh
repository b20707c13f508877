# Users, roles and grants as SQL: users.sh dump|changed|load. dump prints one row a line; the same state gives the same text. load
# makes the server's tables of rights equal to the text on standard input. They are written as rows and not by GRANT, since that asks for
# tables and columns that are data and may not be there yet. The databases themselves are data.
set -eu
umask 077
export LC_ALL=C
sql() { mariadb --no-defaults --socket=/run/mysqld/mysqld.sock --user=root --batch --skip-column-names --raw --default-character-set=utf8mb4 "$@"; }

# rows TABLE KEY…: the query of a table's facts, whatever columns it has in this version. Only rights that are given are printed.
rows() {
	table=$1
	shift
	keys=
	for k in "$@"; do
		keys="$keys${keys:+, ' AND ', }'\`$k\`=', QUOTE(\`$k\`)"
	done
	set_keys=$(echo "$keys" | sed "s/' AND '/', '/g")
	cat <<SQL
SET @q = (SELECT CONCAT('SELECT CONCAT(''REPLACE INTO mysql.$table SET '', ', $(quote "$set_keys"), ', ', GROUP_CONCAT(
	CONCAT('IF(\`', column_name, '\` IN (''N'', ''''), '''', CONCAT('', \`', column_name, '\`='', QUOTE(\`', column_name, '\`)))') ORDER BY ordinal_position SEPARATOR ', '),
	', '';'', CHAR(1), ''DELETE FROM mysql.$table WHERE '', ', $(quote "$keys"), ', '';'') FROM mysql.$table ORDER BY 1')
	FROM information_schema.columns WHERE table_schema = 'mysql' AND table_name = '$table'
	AND column_name NOT IN ($(for k in "$@"; do printf "'%s', " "$k"; done)'Grantor', 'Timestamp'));
EXECUTE IMMEDIATE @q;
SQL
}
quote() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }

# facts prints for each row the statement that makes it, a byte 1, and the statement that takes it away. Times and who granted are left out.
facts() {
	{
		echo 'SET SESSION group_concat_max_len = 1000000;'
		# The time of the last change of a password is the server's own; without one it would count as expired.
		cat <<'SQL'
SELECT CONCAT('REPLACE INTO mysql.global_priv SET Host=', QUOTE(Host), ', User=', QUOTE(User), ', Priv=JSON_SET(', QUOTE(JSON_REMOVE(Priv, '$.password_last_changed')),
	', ''$.password_last_changed'', UNIX_TIMESTAMP());', CHAR(1), 'DELETE FROM mysql.global_priv WHERE Host=', QUOTE(Host), ' AND User=', QUOTE(User), ';')
FROM mysql.global_priv ORDER BY User, Host;
SQL
		rows db Host Db User
		rows tables_priv Host Db User Table_name
		rows columns_priv Host Db User Table_name Column_name
		rows procs_priv Host Db User Routine_name Routine_type
		rows proxies_priv Host User Proxied_host Proxied_user
		rows roles_mapping Host User Role
	} | sql
}

case "${1-}" in
dump)
	facts | cut -d "$(printf '\001')" -f 1
	;;
changed)
	echo 'CHECKSUM TABLE mysql.global_priv, mysql.db, mysql.tables_priv, mysql.columns_priv, mysql.procs_priv, mysql.proxies_priv, mysql.roles_mapping;' | sql
	;;
load)
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	cat >"$work/want"
	grep -q "^REPLACE INTO mysql.global_priv SET Host='localhost', User='root'," "$work/want" ||
		{ echo "mariadb: the text to load is not whole: it does not have the user root" >&2; exit 1; }
	compare() {
		facts >"$work/have"
		cut -d "$(printf '\001')" -f 1 "$work/have" >"$work/lines"
		! cmp -s "$work/want" "$work/lines"
	}
	compare || exit 0
	# What is missing or other first, so that at no moment, a power cut's neither, somebody wanted is not there; then what is too much.
	awk 'NR == FNR { have[$0]; next } !($0 in have)' "$work/lines" "$work/want" | sql
	compare || :
	awk -F '\001' 'NR == FNR { want[$0]; next } !($1 in want) { print $2 }' "$work/want" "$work/have" | sql
	echo 'FLUSH PRIVILEGES;' | sql
	! compare || { echo "mariadb: users and grants could not be made equal to those given" >&2; exit 1; }
	;;
*)
	echo "usage: users.sh dump|changed|load" >&2
	exit 2
	;;
esac
