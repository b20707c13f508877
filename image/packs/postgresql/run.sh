# Becomes the server of this image's version: run.sh
set -eu
. /usr/lib/atlas/packs/postgresql/version.sh
exec "/usr/lib/postgresql/$v/bin/postgres" -D "$data" -c "config_file=$conf/postgresql.conf"
