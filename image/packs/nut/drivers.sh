# Runs one driver for each UPS in ups.conf, and ends when one of them does, so that it is seen and started again.
set -u
. /usr/lib/atlas/packs/nut/names.sh
list=$(ups)
if [ -z "$list" ]; then
	echo "nut: no UPS stands in /etc/nut/ups.conf; add it there, or switch the service off: atlas service disable nut" >&2
	exit 1
fi
pids=
end() { kill $pids 2>/dev/null; wait; exit "$1"; }
trap 'end 0' TERM INT
while read -r name driver; do
	if [ ! -x "/usr/lib/nut/$driver" ]; then
		echo "nut: UPS $name: there is no driver $driver in /usr/lib/nut; correct /etc/nut/ups.conf" >&2
		end 1
	fi
	"/usr/lib/nut/$driver" -a "$name" -F -u nut &
	pids="$pids $!"
done <<END
$list
END
while :; do
	for p in $pids; do
		kill -0 "$p" 2>/dev/null || { echo "nut: a driver has ended" >&2; end 1; }
	done
	sleep 2 &
	wait $!
done
