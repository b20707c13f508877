# Sets v, the PostgreSQL version of this image, data and conf, the directories of its cluster "main". Sourced by the others.
v=
for d in /usr/lib/postgresql/*/bin/postgres; do
	[ -x "$d" ] || continue
	[ -z "$v" ] || { echo "postgresql: the image has more than one version; build it with one" >&2; exit 1; }
	v=${d#/usr/lib/postgresql/}
	v=${v%%/*}
done
[ -n "$v" ] || { echo "postgresql: the image has no server in /usr/lib/postgresql; build it with the package postgresql" >&2; exit 1; }
data=/var/lib/postgresql/$v/main
conf=/etc/postgresql/$v/main
