# Has exportfs look at the list of shares. It knows only to export them: that goes into the void here, since the checker has a network and a
# /var/lib/nfs of its own, and its /proc does not reach the kernel's server. Then nfs.conf.
set -eu
said=$(nfsconf --dump 2>&1 >/dev/null) || :
[ -z "$said" ] || { echo "$said" >&2; exit 1; }
said=$(exportfs -ra 2>&1) || :
if echo "$said" | grep -E '^exportfs: /etc/exports' >&2; then exit 1; fi
