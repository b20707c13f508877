# Has MariaDB look at its configuration. It has no mode for that; asked for help it reads all files and their values first.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
said=$(/usr/sbin/mariadbd --datadir="$work" --verbose --help 2>&1 >/dev/null) || { echo "$said" | grep -vE 'Aborting|\[Warning\]' >&2; exit 1; }
if echo "$said" | grep -E '\[ERROR\]|^error: ' >&2; then exit 1; fi
