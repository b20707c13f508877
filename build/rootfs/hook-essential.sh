#!/bin/sh
# Runs once the essential packages are there and before all others: accounts first, so that every package finds its own
# with the ID that it has in every other image, whatever release it is of.
set -eu
root=$1
here=$(dirname "$0")

# systemd is drawn in by a few packages that only want its sysusers and tmpfiles; those come from the standalone packages.
mkdir -p "$root/etc/apt/preferences.d"
printf 'Package: systemd systemd-sysv libpam-systemd\nPin: release *\nPin-Priority: -1\n' >"$root/etc/apt/preferences.d/atlas"

for f in passwd group shadow gshadow; do
	if [ -s "$here/$f" ]; then
		cat "$here/$f" >>"$root/etc/$f"
	fi
done

# No initramfs of Debian's: the image has its own.
mkdir -p "$root/etc/initramfs-tools"
printf 'update_initramfs=no\n' >"$root/etc/initramfs-tools/update-initramfs.conf"

# Debian starts no daemons while installing in a chroot if this says so.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
