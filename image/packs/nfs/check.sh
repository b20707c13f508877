# Has exportfs look at the list of shares. It knows only to export them, so that happens where nobody is: in a network and with a list of
# its own (-U, so that this needs no powers). Whether it then reaches a kernel's server does not matter. Then nfs.conf.
set -eu
said=$(nfsconf --dump 2>&1 >/dev/null) || :
[ -z "$said" ] || { echo "$said" >&2; exit 1; }
said=$(unshare -Urmn --propagation private sh -c '
	mount -t tmpfs tmpfs /var/lib/nfs
	[ ! -d /proc/fs/nfsd ] || mount -t tmpfs tmpfs /proc/fs/nfsd
	exec exportfs -ra
' 2>&1) || :
if echo "$said" | grep -E '^exportfs: /etc/exports' >&2; then exit 1; fi
