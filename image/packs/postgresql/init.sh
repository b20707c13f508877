# Makes the cluster "main" in a directory of its own and moves it into place when it is complete and on disk, so that a power cut
# leaves either none or a whole one; writes the part of its configuration that is the site's: init.sh ADDRESS [ADDRESS6]. May be run again at any time.
set -eu
. /usr/lib/atlas/packs/postgresql/version.sh
here=/usr/lib/atlas/packs/postgresql
as() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }

# put FILE: standard input becomes FILE, whole or not at all, with the owner and mode that postgres wants.
put() {
	cat >"$1.new"
	chown postgres:postgres "$1.new"
	chmod 0640 "$1.new"
	sync "$1.new"
	mv "$1.new" "$1"
}

# rules adds to the list of who may log in what belongs to the site, unless somebody has.
rules() {
	grep -q '^# ATLAS' "$conf/pg_hba.conf" || cat "$conf/pg_hba.conf" "$here/pg_hba.add" | put "$conf/pg_hba.conf"
}

install -d -m 0755 -o postgres -g postgres /var/lib/postgresql "/var/lib/postgresql/$v"
install -d -m 1775 -o root -g postgres /var/log/postgresql

if [ ! -s "$data/PG_VERSION" ]; then
	# An empty database beside a full one of another version would look like a loss.
	for other in /var/lib/postgresql/*/main/PG_VERSION; do
		[ -s "$other" ] || continue
		echo "postgresql: ${other%/PG_VERSION} is of version $(cat "$other"), and this image has $v; convert it, or start the former image again" >&2
		exit 1
	done
	[ -s "$conf/postgresql.conf" ] || { echo "postgresql: $conf/postgresql.conf is missing; restore it from /usr/share/postgresql/$v/postgresql.conf.sample" >&2; exit 1; }
	rm -rf "$data.new"
	if ! out=$(as "/usr/lib/postgresql/$v/bin/initdb" --pgdata="$data.new" --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
		--auth-local=peer --auth-host=scram-sha-256 2>&1); then
		echo "$out" >&2
		exit 1
	fi
	# The configuration is in /etc; what initdb left would mislead.
	rm -f "$data.new/postgresql.conf" "$data.new/pg_hba.conf" "$data.new/pg_ident.conf"
	sync -f "$data.new"
	rules
	if [ -e "$data" ] && [ -n "$(find "$data" -mindepth 1 -maxdepth 1 ! -name lost+found)" ]; then
		# Something without a version: not ours to delete.
		mv "$data" "$data.unknown-$(date +%Y%m%d-%H%M%S)"
	else
		rm -rf "$data"
	fi
	mv "$data.new" "$data"
	sync -f "$data"
fi

# Data that came from an older release have found this one's list as the image ships it.
if cmp -s "$conf/pg_hba.conf" "/run/atlas/image/etc/postgresql/$v/main/pg_hba.conf"; then rules; fi

listen=localhost,$1
[ -z "${2:-}" ] || listen=$listen,$2
mkdir -p "$conf/conf.d"
sed "s/@LISTEN@/$listen/" "$here/atlas.conf" >/run/atlas-postgresql.conf
cmp -s /run/atlas-postgresql.conf "$conf/conf.d/00-atlas.conf" || put "$conf/conf.d/00-atlas.conf" </run/atlas-postgresql.conf
rm -f /run/atlas-postgresql.conf
