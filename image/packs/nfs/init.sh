# Makes NFS's state, the first export and the verifier's: init.sh ADDRESS ADDRESS6 PREFIX "OTHER..." with the servers' other addresses.
# Run at every start: exports that are there stay as they are.
set -eu
address=$1 address6=$2 prefix=$3 others=$4

# network PREFIX prints the network of an IPv4 address with prefix length: 10.7.0.10/24 is in 10.7.0.0/24.
network() {
	bits=${1#*/}
	old=$IFS
	IFS=.
	set -- ${1%/*}
	IFS=$old
	n=$((($1 << 24 | $2 << 16 | $3 << 8 | $4) & (0xffffffff << (32 - bits))))
	echo "$((n >> 24 & 255)).$((n >> 16 & 255)).$((n >> 8 & 255)).$((n & 255))/$bits"
}

# put FILE: standard input becomes FILE, unless it has the same already.
put() {
	cat >"$1.new"
	if cmp -s "$1.new" "$1"; then
		rm -f "$1.new"
		return
	fi
	chmod 0644 "$1.new"
	sync "$1.new"
	mv "$1.new" "$1"
}

umask 022
# What daemons of a former life registered and left is not true any more.
rm -f /run/rpcbind/atlas-lives /run/rpcbind/*.xdr
mkdir -p /var/lib/nfs/v4recovery /var/lib/nfs/nfsdcld /var/lib/nfs/ganesha /etc/exports.d /etc/nfs.conf.d
for f in etab rmtab; do
	[ -e "/var/lib/nfs/$f" ] || : >"/var/lib/nfs/$f"
done
# statd becomes the owner of its directory.
install -d -m 0700 -o statd -g nogroup /var/lib/nfs/sm /var/lib/nfs/sm.bak
[ -e /var/lib/nfs/state ] || install -m 0600 -o statd -g nogroup /dev/null /var/lib/nfs/state

if [ ! -e /srv/nfs ]; then
	if ! grep -q '^[[:space:]]*[^#[:space:]]' /etc/exports 2>/dev/null; then
		{
			[ ! -e /etc/exports ] || cat /etc/exports
			echo "/srv/nfs	$(network "$prefix")(rw,sync,no_subtree_check,root_squash)"
		} | put /etc/exports
	fi
	mkdir /srv/nfs.new
	chgrp users /srv/nfs.new
	chmod 2775 /srv/nfs.new
	mv /srv/nfs.new /srv/nfs
fi

mkdir -p /srv/atlas-verify-nfs
chown 610:610 /srv/atlas-verify-nfs
chmod 0700 /srv/atlas-verify-nfs
{
	echo '# Written at each start: what the servers of the site write to prove that NFS works. The whole network, since a further server'
	echo '# may join at any time.'
	printf /srv/atlas-verify-nfs
	for a in "$(network "$prefix")" $address6 $others; do
		printf ' %s(rw,sync,no_subtree_check,root_squash)' "$a"
	done
	echo
} | put /etc/exports.d/atlas-verify.exports
{
	echo '# Written at each start; edit /etc/atlas/site.yaml instead.'
	echo '[nfsd]'
	echo "host=$address${address6:+,$address6}"
} | put /etc/nfs.conf.d/10-atlas-address.conf
