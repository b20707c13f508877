#!/bin/sh
# Runs when all packages are installed: takes out what must not be the same on every server (keys), what is made on the disk
# set (databases), and what tells of the machine or the minute of the build.
set -eu
root=$1
here=$(dirname "$0")
cd "$root"

sed -n 's/^Date: //p' var/lib/apt/lists/*_InRelease var/lib/apt/lists/*_Release 2>/dev/null >"$here/dates" || :

# Secrets and identity.
rm -f etc/ssh/ssh_host_* etc/ssl/private/ssl-cert-snakeoil.key
find etc/ssl/certs -lname '*snakeoil*' -delete 2>/dev/null || :
rm -f etc/ssl/certs/ssl-cert-snakeoil.pem
rm -f etc/machine-id var/lib/dbus/machine-id etc/hostid
: >etc/machine-id

# Databases and state that first starts would make: the packs make them on the set.
for d in var/lib/mysql var/lib/postgresql var/lib/ldap etc/ldap/slapd.d var/lib/samba/private var/lib/nut var/lib/chrony var/lib/nfs; do
	[ -d "$d" ] && find "$d" -mindepth 1 -delete
done
rm -f var/lib/samba/*.tdb var/lib/samba/*.ldb var/cache/samba/*.tdb etc/aliases.db etc/postfix/main.cf.proto.orig

# The machine that built it.
rm -f etc/hostname etc/resolv.conf etc/mailname
printf 'atlas\n' >etc/hostname
printf '127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n' >etc/hosts
# Name servers belong to the server, not to the set: init writes them below /run.
ln -s ../run/atlas/resolv.conf etc/resolv.conf
ln -sfn ../proc/self/mounts etc/mtab
if [ -f etc/postfix/main.cf ]; then
	sed -i -e '/^myhostname *=/d' -e '/^mydestination *=/d' etc/postfix/main.cf
fi

# The minute of the build, and caches.
find var/log -type f -delete
find var/cache -type f -delete
find var/lib/apt/lists -mindepth 1 -delete
rm -rf var/lib/systemd/deb-systemd-helper-enabled/*.dsh-also.old
rm -f var/lib/dpkg/*-old var/cache/debconf/*-old var/lib/dpkg/lock* var/lib/apt/extended_states etc/.pwd.lock
rm -f etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid-
rm -f etc/mdadm/mdadm.conf etc/apt/sources.list etc/apt/preferences.d/atlas etc/apt/apt.conf.d/99mmdebstrap etc/dpkg/dpkg.cfg.d/99mmdebstrap
rm -f usr/sbin/policy-rc.d
find . -xdev -name '__pycache__' -type d -prune -exec rm -rf {} +
rm -f initrd.img initrd.img.old vmlinuz vmlinuz.old
rm -rf run/* tmp/*
chmod 1777 tmp

# init is ATLAS's.
rm -f sbin/init
ln -s ../lib/atlas/init usr/sbin/init
mkdir -p usr/lib/atlas
