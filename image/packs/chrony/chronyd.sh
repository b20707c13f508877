# Starts chronyd for KIND ROLE ADDRESS ADDRESS6 PEERS.
set -eu
kind=$1 role=$2 address=$3 address6=$4 peers=$5
dir=/run/chrony-atlas

# Clients go on having one time with the server when the outside is away: it then serves its own clock, a twin with less weight.
stratum=10
[ "$role" = primary ] || stratum=12
{
	printf 'bindaddress %s\n' "$address"
	[ -z "$address6" ] || printf 'bindaddress %s\n' "$address6"
	printf 'allow\nlocal stratum %s\n' "$stratum"
} >"$dir/serve.conf"

rm -rf "$dir/sources"
mkdir "$dir/sources"
conf=/etc/chrony/chrony.conf
if [ "$role" != primary ]; then
	conf=/etc/chrony/atlas-twin.conf
	for peer in $peers; do
		printf 'server %s iburst\n' "$peer"
	done >"$dir/sources/peers.sources"
fi

# The lab's servers share their clock with the machine that they run on: it is told, not set.
clock=
[ "$kind" = hardware ] || clock=-x
exec /usr/sbin/chronyd -d -u _chrony $clock -f "$conf"
