# Loads the kernel's server and mounts its two file systems: kernel.sh up|down
set -eu
case "$1" in
up)
	modprobe nfsd || { echo "nfs: the kernel has no module nfsd; leave fs/nfsd in the image (modules_exclude of the profile)" >&2; exit 1; }
	mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
	mkdir -p /run/rpc_pipefs
	mountpoint -q /run/rpc_pipefs || mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs
	# lockd takes its ports from here, not from nfs.conf.
	port=$(nfsconf --get lockd port || echo 32767)
	echo "$port" >/proc/sys/fs/nfs/nlm_tcpport
	echo "$port" >/proc/sys/fs/nfs/nlm_udpport
	;;
down)
	for m in /run/rpc_pipefs /proc/fs/nfsd; do
		! mountpoint -q "$m" || umount "$m"
	done
	;;
esac
