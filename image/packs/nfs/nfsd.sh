# Starts and ends the kernel's server: nfsd.sh up|down
set -eu
case "$1" in
up)
	# One bad line must not take all shares away: exportfs tells it and exports the others.
	exportfs -ra || echo "nfs: a line of /etc/exports is wrong (see above); the other shares are served"
	rpc.nfsd
	[ "$(cat /proc/fs/nfsd/threads)" -gt 0 ] || { echo "nfs: the kernel's server did not start; the kernel's messages tell why: dmesg" >&2; exit 1; }
	;;
down)
	exportfs -ua || :
	rpc.nfsd 0
	;;
esac
