#!/bin/sh
# Sets the services of a Debian with systemd up, as its administrator would: reachable from the office, with TLS where the image has it,
# and with data of their own. Debian's scripts have made databases and certificates already.
set -eu
root=$1
in_root() { chroot "$root" /usr/bin/env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
has() { [ -e "$root/$1" ]; }

echo bench >"$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\tbench.office.example bench\n' >"$root/etc/hosts"
: >"$root/etc/resolv.conf"
rm -f "$root/etc/machine-id"
echo uninitialized >"$root/etc/machine-id"
printf 'LABEL=bench / ext4 errors=remount-ro 0 1\n' >"$root/etc/fstab"
in_root systemctl enable systemd-networkd
install -d -m 0700 "$root/root/.ssh"

# What a site of ATLAS does not run by default; ganesha is for the namespace lab only.
for unit in sogo memcached samba-ad-dc winbind nmbd nfs-ganesha nfs-ganesha-lock nut-server nut-monitor nut-client nut-driver-enumerator nut-driver-enumerator.path systemd-networkd-wait-online; do
	in_root systemctl disable "$unit" >/dev/null 2>&1 || :
	in_root systemctl mask "$unit" >/dev/null 2>&1 || :
done

if has etc/apache2; then
	in_root a2enmod -q ssl
	in_root a2ensite -q default-ssl
fi
if has etc/mysql/mariadb.conf.d; then
	printf '[mysqld]\nbind-address = 0.0.0.0\n' >"$root/etc/mysql/mariadb.conf.d/60-bench.cnf"
fi
for d in "$root"/etc/postgresql/*/main/conf.d; do
	[ -d "$d" ] && echo "listen_addresses = '*'" >"$d/bench.conf"
done
if has etc/postfix; then
	has etc/postfix/main.cf || cp "$root/usr/share/postfix/main.cf.debian" "$root/etc/postfix/main.cf"
	in_root postconf -e inet_interfaces=all myhostname=bench.office.example 'mydestination=$myhostname, localhost' mynetworks=127.0.0.0/8
	in_root newaliases || :
fi
if has etc/krb5kdc; then
	printf '[libdefaults]\n\tdefault_realm = OFFICE.EXAMPLE\n\tdns_lookup_kdc = false\n[realms]\n\tOFFICE.EXAMPLE = {\n\t\tkdc = localhost\n\t\tadmin_server = localhost\n\t}\n' >"$root/etc/krb5.conf"
	printf '[kdcdefaults]\n\tkdc_ports = 88\n[realms]\n\tOFFICE.EXAMPLE = {\n\t\tdatabase_name = /var/lib/krb5kdc/principal\n\t\tacl_file = /etc/krb5kdc/kadm5.acl\n\t\tkey_stash_file = /etc/krb5kdc/stash\n\t\tmax_life = 10h\n\t}\n' >"$root/etc/krb5kdc/kdc.conf"
	: >"$root/etc/krb5kdc/kadm5.acl"
	in_root kdb5_util -r OFFICE.EXAMPLE -P bench create -s >/dev/null
fi
if has etc/exports || has usr/sbin/exportfs; then
	mkdir -p "$root/srv/nfs"
	echo '/srv/nfs *(rw,sync,no_subtree_check)' >"$root/etc/exports"
fi
rm -f "$root/usr/sbin/policy-rc.d"
