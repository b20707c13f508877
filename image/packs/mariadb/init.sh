# Makes the database in a directory of its own and moves it into place when it is complete and on disk, so that a power cut
# leaves either none or a whole one.
set -eu
data=/var/lib/mysql
[ ! -d "$data/mysql" ] || exit 0
rm -rf "$data.new"
install -d -m 0755 -o mysql -g mysql "$data.new"
# As mysql: as root the installer would change owners in the read-only image. --force: do without name service.
if ! out=$(setpriv --reuid mysql --regid mysql --init-groups mariadb-install-db --no-defaults --basedir=/usr --datadir="$data.new" \
	--auth-root-authentication-method=socket --auth-root-socket-user=root --skip-test-db --skip-name-resolve --force 2>&1); then
	echo "$out" >&2
	exit 1
fi
# The tables are of this version: upgrade.sh has nothing to do.
mariadbd --no-defaults --version | sed -n 's/.*Ver \([0-9][^ ]*\).*/\1/p' >"$data.new/mariadb_upgrade_info"
chown mysql: "$data.new/mariadb_upgrade_info"
sync -f "$data.new"
if [ -d "$data" ] && [ -n "$(find "$data" -mindepth 1 -maxdepth 1 ! -name 'debian-*.flag' ! -name lost+found)" ]; then
	# Something without system tables: not ours to delete.
	mv "$data" "$data.unknown-$(date +%Y%m%d-%H%M%S)"
else
	rm -rf "$data"
fi
mv "$data.new" "$data"
sync -f "$data"
