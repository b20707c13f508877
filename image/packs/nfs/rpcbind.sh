# Becomes rpcbind: rpcbind.sh ADDRESS ADDRESS6. Killed, it forgets who has registered, and nobody tells it again: then those who
# should stand in it are started anew.
set -eu
if [ -e /run/rpcbind/atlas-lives ]; then
	(
		until rpcinfo -t 127.0.0.1 100000 >/dev/null 2>&1; do sleep 0.2; done
		echo 'rpcbind came back and knows nobody: starting the others anew'
		pkill -x rpc.statd || :
		pkill -x rpc.mountd || :
		pkill -x ganesha.nfsd || :
		if [ -s /proc/fs/nfsd/threads ] && [ "$(cat /proc/fs/nfsd/threads)" -gt 0 ]; then
			rpc.nfsd 0
			rpc.nfsd
		fi
	) &
fi
: >/run/rpcbind/atlas-lives
# By itself it listens on loopback too. -h goes for UDP only; what comes by TCP the packet filter decides.
exec /usr/sbin/rpcbind -f -h "$1" ${2:+-h "$2"}
