# mdadm --monitor ends when there is no array with redundancy: on a set of one disk that is no fault, and may change. What it finds
# goes to the system's log and, where a mail service runs, to root. init and the page tell of the set by themselves; this is for
# administrators' own ways.
set -u
mkdir -p /run/mdadm
while :; do
	mdadm --monitor --scan --delay=60 --syslog --mail root
	code=$?
	[ "$code" = 0 ] || exit "$code"
	sleep 600 &
	wait $!
done
