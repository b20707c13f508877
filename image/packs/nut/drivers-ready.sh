# All drivers have made their sockets.
set -eu
. /usr/lib/atlas/packs/nut/names.sh
ups | while read -r name driver; do
	[ -S "/run/nut/$driver-$name" ] || exit 1
done
