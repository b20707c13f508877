# Prints what PostgreSQL makes of its files: effective.sh. Run as postgres. It looks at the files anew for that, and needs no reload.
set -eu
export LC_ALL=C PGCONNECT_TIMEOUT=5
here=/usr/lib/atlas/packs/postgresql
psql -XAtq -v ON_ERROR_STOP=1 -d postgres -f "$here/effective.sql"
psql -XAtq -v ON_ERROR_STOP=1 -d postgres -c "SELECT 'pg_ident = ' || coalesce(string_agg(concat_ws(' ', map_name, sys_name, pg_username, error), ' | ' ORDER BY line_number), '') FROM pg_ident_file_mappings" 2>/dev/null || : # 13 has no such table
