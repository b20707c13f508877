# Roles, memberships, databases and what roles may do with them, as SQL: roles.sh dump|changed|load. Run as postgres.
# dump prints one statement a line, in the order in which they work; the same state gives the same text. load makes the server equal
# to the text on standard input. What lies inside the databases is data, and is neither printed nor touched.
set -eu
umask 077
export LC_ALL=C PGOPTIONS='-c client_min_messages=warning -c datestyle=ISO -c timezone=UTC -c extra_float_digits=1'
sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname=postgres "$@"; }

# facts prints for each fact the statement that makes it true, a byte 1, and what takes it away again ("" where the statement of the
# same name that is wanted instead does so). Byte 2 stands for a line's end.
facts() {
	sql <<'SQL'
SELECT current_setting('server_version_num')::int >= 160000 AS v16 \gset
\if :v16
	\set options 'format(''WITH ADMIN %s, INHERIT %s, SET %s'', m.admin_option::text, m.inherit_option::text, m.set_option::text)'
\else
	\set options 'CASE WHEN m.admin_option THEN ''WITH ADMIN OPTION'' ELSE '''' END'
\endif
WITH role AS (
	SELECT *, quote_ident(rolname) AS id FROM pg_authid WHERE rolname !~ '^pg_'
), db AS (
	SELECT *, quote_ident(datname) AS id FROM pg_database WHERE datname <> 'template0'
), every AS (
	SELECT string_agg(format(E'\\connect %s\nREASSIGN OWNED BY %%1$s TO postgres;\nDROP OWNED BY %%1$s;\n', id), '') AS text FROM db WHERE datallowconn
), setting AS (
	SELECT s.setdatabase, s.setrole, quote_ident(split_part(c, '=', 1)) AS name, substr(c, strpos(c, '=') + 1) AS value,
		CASE WHEN s.setrole = 0 AND s.setdatabase = 0 THEN 'ALTER ROLE ALL' WHEN s.setrole <> 0 THEN format('ALTER ROLE %s%s', r.id, CASE WHEN s.setdatabase <> 0 THEN ' IN DATABASE ' || d.id ELSE '' END)
		ELSE format('ALTER DATABASE %s', d.id) END AS who
	FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS c LEFT JOIN role r ON r.oid = s.setrole LEFT JOIN db d ON d.oid = s.setdatabase
	WHERE (s.setrole = 0 OR r.oid IS NOT NULL) AND (s.setdatabase = 0 OR d.oid IS NOT NULL)
), fact(n, makes, undoes) AS (
	SELECT 1, format('CREATE ROLE %s;', id), format(e.text, id) || format(E'\\connect postgres\nDROP ROLE %s;', id) FROM role, every e WHERE oid <> 10
	UNION ALL
	SELECT 2, concat_ws(' ', 'ALTER ROLE', id, 'WITH', CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END, CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
		CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END, CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
		CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
		CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, 'CONNECTION LIMIT', rolconnlimit,
		'PASSWORD', coalesce(quote_literal(rolpassword), 'NULL'), 'VALID UNTIL', quote_literal(coalesce(rolvaliduntil, 'infinity')::text)) || ';', '' FROM role
	UNION ALL
	SELECT 3, format('GRANT %s TO %s %s GRANTED BY %s;', quote_ident(pg_get_userbyid(m.roleid)), b.id, :options, quote_ident(pg_get_userbyid(m.grantor))),
		format('REVOKE %s FROM %s GRANTED BY %s CASCADE;', quote_ident(pg_get_userbyid(m.roleid)), b.id, quote_ident(pg_get_userbyid(m.grantor)))
	FROM pg_auth_members m JOIN role b ON b.oid = m.member
	UNION ALL
	-- A database that holds tables is somebody's data: it is never dropped here.
	SELECT 4, format('CREATE DATABASE %s TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L;', id, pg_encoding_to_char(encoding), datcollate, datctype),
		format(E'\\connect %1$s\nSELECT count(*) = 0 AS empty FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ ''^pg_'' AND n.nspname <> ''information_schema'' \\gset\n\\connect postgres\n\\if :empty\nDROP DATABASE %1$s WITH (FORCE);\n\\else\n\\warn postgresql: the database %1$s is not there on the primary any more, but holds tables; save what is needed of it and drop it by hand: dropdb %1$s\n\\endif', id)
	FROM db WHERE datname NOT IN ('postgres', 'template1')
	UNION ALL
	SELECT 5, format('ALTER DATABASE %s OWNER TO %s;', id, quote_ident(pg_get_userbyid(datdba))), '' FROM db
	UNION ALL
	SELECT 6, format('ALTER DATABASE %s WITH ALLOW_CONNECTIONS %s CONNECTION LIMIT %s IS_TEMPLATE %s;', id, datallowconn::text, datconnlimit, datistemplate::text), '' FROM db
	UNION ALL
	SELECT 7, format('GRANT %s ON DATABASE %s TO %s%s;', a.privilege_type, id, g.name, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END),
		format('REVOKE %s ON DATABASE %s FROM %s CASCADE;', a.privilege_type, id, g.name)
	FROM db CROSS JOIN LATERAL aclexplode(coalesce(datacl, acldefault('d', datdba))) a
	CROSS JOIN LATERAL (SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS name) g
	UNION ALL
	-- Lists of names are kept as SQL has them; everything else is one word.
	SELECT 8, format('%s SET %s TO %s;', who, name, CASE
		WHEN name IN ('search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries') AND value <> '' THEN value
		WHEN strpos(value, chr(10)) > 0 THEN 'E' || replace(regexp_replace(quote_literal(value), '^E', ''), chr(10), '\n')
		ELSE quote_literal(value) END), format('%s RESET %s;', who, name) FROM setting
)
SELECT makes || chr(1) || replace(undoes, chr(10), chr(2)) FROM fact ORDER BY n, makes COLLATE "C";
SQL
}

case "${1-}" in
dump)
	facts | cut -d "$(printf '\001')" -f 1
	;;
changed)
	# The last transaction that wrote to each of the tables in question, and how many rows there are.
	sql <<'SQL'
SELECT (SELECT string_agg(xmin::text, ' ' ORDER BY oid) FROM pg_authid), (SELECT string_agg(xmin::text, ' ' ORDER BY ctid) FROM pg_auth_members),
	(SELECT string_agg(xmin::text, ' ' ORDER BY oid) FROM pg_database), (SELECT string_agg(xmin::text, ' ' ORDER BY ctid) FROM pg_db_role_setting);
SQL
	;;
load)
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	cat >"$work/want"
	grep -q '^ALTER ROLE postgres WITH SUPERUSER ' "$work/want" || { echo "postgresql: the text to load is not whole: it does not have the role postgres" >&2; exit 1; }
	# One thing may have to come before another, one taken away takes others along, and a new database has grants of its own: go on after
	# an error, and look again, until all is equal.
	for _ in 1 2 3 4; do
		facts >"$work/have"
		cut -d "$(printf '\001')" -f 1 "$work/have" >"$work/lines"
		if cmp -s "$work/want" "$work/lines"; then exit 0; fi
		{
			# Passwords stay out of the server's log.
			printf 'SET log_statement = none;\nSET log_min_error_statement = panic;\nSET log_min_duration_statement = -1;\n' >"$work/quiet"
			cat "$work/quiet"
			# What is too much goes first, the last first; then comes what is missing.
			awk -F '\001' 'NR == FNR { want[$0]; next } !($1 in want) && $2 != "" { gsub("\002", "\n", $2); extra[++n] = $2 } END { while (n) print extra[n--] }' "$work/want" "$work/have"
			echo '\connect postgres'
			cat "$work/quiet"
			awk 'NR == FNR { have[$0]; next } !($0 in have)' "$work/lines" "$work/want"
		} >"$work/do"
		sql --set=ON_ERROR_STOP=0 --output=/dev/null --file="$work/do" 2>"$work/said" || :
	done
	facts | cut -d "$(printf '\001')" -f 1 >"$work/lines"
	cmp -s "$work/want" "$work/lines" || { sed 's/^psql:[^ ]*: //' "$work/said" >&2; echo "postgresql: roles and databases could not be made equal to those given" >&2; exit 1; }
	;;
*)
	echo "usage: roles.sh dump|changed|load" >&2
	exit 2
	;;
esac
