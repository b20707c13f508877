# The files as they are shipped name their keys in comments: nfs.conf, and the older ones of the init scripts.
echo "@@ version"; dpkg-query -W -f '${Version}\n' nfs-kernel-server
echo "@@ listing"
for f in /etc/nfs.conf; do [ ! -f $f ] || cat $f; done
for f in /etc/default/nfs-*; do [ ! -f "$f" ] || { echo "[${f##*/}]"; cat "$f"; }; done
