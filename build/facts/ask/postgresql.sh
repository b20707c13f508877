# A cluster that is thrown away, since only a server with one tells all that it knows.
V=$(ls /usr/lib/postgresql); B=/usr/lib/postgresql/$V/bin
as() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
mkdir /tmp/d; chown postgres /tmp/d
as "$B/initdb" -D /tmp/d -E UTF8 --locale=C -A trust >/tmp/said 2>&1 || cat /tmp/said >&2
echo "@@ version"; "$B/postgres" --version
echo "copy (select name, vartype, context, boot_val from pg_settings order by name collate \"C\") to '/tmp/d/out'" |
	as "$B/postgres" --single -D /tmp/d postgres >/tmp/said 2>&1 || cat /tmp/said >&2
echo "@@ listing"; cat /tmp/d/out
echo "@@ modules"; ls "/usr/share/postgresql/$V/extension" | sed -n 's/\.control$//p' | sed 's/^/extension\//'
echo "@@ zones"; (cd /usr/share/zoneinfo && find US Europe/Belfast -type f,l 2>/dev/null) | sort
