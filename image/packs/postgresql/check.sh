# Has PostgreSQL look at its configuration: its settings, and who may log in (pg_hba.conf, pg_ident.conf). Run as postgres. There is no
# program that looks at the latter; so a server is started on an empty directory that is called a database: it reads these files, says what is
# wrong, and ends, as it finds no data.
set -eu
umask 077
export LC_ALL=C
. /usr/lib/atlas/packs/postgresql/version.sh
postgres=/usr/lib/postgresql/$v/bin/postgres
"$postgres" -D "$data" -c "config_file=$conf/postgresql.conf" -C hba_file >/dev/null

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/data"
(cd "$data" && find . -mindepth 1 -maxdepth 2 -type d ! -path './base/*') | (cd "$work/data" && xargs mkdir)
cp "$data/PG_VERSION" "$data/postgresql.auto.conf" "$work/data/"
cp "$data/global/pg_control" "$work/data/global/"
"$postgres" -D "$work/data" -c "config_file=$conf/postgresql.conf" -c data_directory="$work/data" -c external_pid_file="$work/pid" \
	-c listen_addresses= -c unix_socket_directories="$work" -c shared_buffers=1MB -c huge_pages=off -c shared_preload_libraries= \
	-c logging_collector=off -c log_destination=stderr -c log_line_prefix= -c lc_messages=C -c log_min_messages=warning >"$work/said" 2>&1 || :
# It would start without pg_ident.conf, and let nobody in by it. Of a file that include_if_exists names and that is missing it says that it could not
# be opened, and then that it is passed over: that is as ordered.
if awk '
	function told() {
		if (ours && text ~ /^[A-Z]+: *skipping missing authentication file/) last = ""
		else if (ours) { printf "%s", last; last = text }
		text = ""; ours = 0
	}
	/^[A-Z]+: / && !/^(CONTEXT|DETAIL|HINT|STATEMENT): / { told() }
	{ text = text $0 "\n" }
	/^CONTEXT: .* of configuration file / { ours = 1 }
	END { told(); printf "%s", last }
' "$work/said" | grep . >&2; then exit 1; fi
