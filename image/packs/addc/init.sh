# Makes the domain, its certificate and what depends on the address: init.sh ADDRESS DOMAIN SITE "FORWARDERS". May be run again at any time.
# The domain is made in a directory of its own and moved into place when it is complete and on disk, so that a power cut leaves
# either none or a whole one.
set -eu
umask 022
address=$1 domain=$2 site=$3 forwarders=$4
here=/usr/lib/atlas/packs/addc
data=/var/lib/samba-ad
names=/etc/samba/addc-domain.conf

[ -n "$address" ] || {
	echo "addc: it has no address of its own; give it one under addresses in /etc/atlas/site.yaml" >&2
	exit 1
}

# put FILE MODE: what is read becomes FILE, whole or not at all; an unchanged file is not written.
put() {
	(umask 077; cat >"$1.new")
	if cmp -s "$1.new" "$1"; then
		rm -f "$1.new"
		return
	fi
	chmod "$2" "$1.new"
	sync "$1.new"
	mv "$1.new" "$1"
	sync "$(dirname "$1")"
}

mkdir -p /etc/samba /var/log/samba
{
	echo "# Written at each start; edit /etc/atlas/site.yaml instead."
	echo "interfaces = $address"
	own=
	for f in $forwarders; do
		[ "$f" = "$address" ] || own="$own $f" # asking itself would never end
	done
	[ -z "$own" ] || echo "dns forwarder =$own"
} | put /etc/samba/addc-address.conf 0644

# The names are for the domain's life: computers are joined to them. Whoever wants another short name than AD writes this file
# before the first start.
realm=$(printf 'ad.%s' "$domain" | tr a-z A-Z)
if [ ! -e "$names" ]; then
	put "$names" 0644 <<-EOF
		# The domain's names. They were chosen when the domain was made and cannot be changed afterwards.
		realm = $realm
		workgroup = AD
		netbios name = DC
	EOF
fi

grep -qx "realm = $realm" "$names" || {
	echo "addc: the domain is another than $realm, see $names; set the domain in /etc/atlas/site.yaml back, or move $names and $data away to begin an empty one" >&2
	exit 1
}

if [ ! -d "$data" ]; then
	rm -rf "$data.new"
	mkdir -m 0755 "$data.new"
	if ! out=$(python3 "$here/provision.py" "$data.new" "$names" "$address" "$site" 2>&1); then
		printf '%s\n' "$out" | tail -n 20 >&2
		echo "addc: the domain was not made; the lines above tell why" >&2
		exit 1
	fi
	sync -f "$data.new"
	mv "$data.new" "$data"
	sync -f "$data"
fi

# Samba's own certificate has a negative serial number, which strict clients refuse. It is replaced by a bought one at will.
crt=/etc/ssl/atlas/addc.crt key=/etc/ssl/atlas/addc.key
if [ ! -s "$crt" ]; then
	mkdir -p /etc/ssl/atlas
	host=dc.ad.$domain
	(umask 077; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -sha256 \
		-subj "/CN=$host" -addext "subjectAltName=DNS:$host,DNS:ad.$domain,IP:$address" -keyout "$key.new" -out "$crt.new" 2>/dev/null)
	chmod 0644 "$crt.new"
	sync "$key.new" "$crt.new"
	mv "$key.new" "$key"
	mv "$crt.new" "$crt" # last: it says that both are there
	sync /etc/ssl/atlas
fi

mkdir -p /run/samba-ad
echo "nameserver $address" >/run/samba-ad/resolv.conf

# chrony asks here for the signatures that Windows wants on time.
mkdir -p /run/samba-ad/ntp_signd
chmod 0750 /run/samba-ad/ntp_signd
! getent group _chrony >/dev/null || chgrp _chrony /run/samba-ad/ntp_signd
