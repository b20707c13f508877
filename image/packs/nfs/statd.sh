# Becomes statd: statd.sh ROLE. At its start it tells the clients that held locks to claim them again; a twin has none.
set -eu
[ "$1" = primary ] || set -- "$1" --no-notify
shift
exec /usr/sbin/rpc.statd -F "$@"
