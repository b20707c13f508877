# Joins the office's client computer to the domain and uses it, as an administrator and a user would: ad-join.sh VERB DOMAIN [PASSWORD]
#   join DOMAIN PASSWORD         the computer joins, with the password of Administrator
#   computer DOMAIN              the computer logs in with the key that it got when it joined
#   login DOMAIN PASSWORD USER   USER logs in by Kerberos, gets tickets, opens the logon share, looks into the directory
# Servers are found by the domain's name service alone, as Windows does. What the computer keeps lies in /tmp/ad.
set -eu
verb=$1 domain=$2 password=${3-} user=${4-}
realm=$(printf %s "$domain" | tr a-z A-Z)
mkdir -p /tmp/ad/lock
cd /tmp/ad
export KRB5_CONFIG=/tmp/ad/krb5.conf KRB5CCNAME=FILE:/tmp/ad/$verb.ccache
cat >krb5.conf <<EOF
[libdefaults]
	default_realm = $realm
	dns_lookup_kdc = true
	dns_lookup_realm = false
	dns_canonicalize_hostname = false
	rdns = false
EOF
cat >smb.conf <<EOF
[global]
	realm = $realm
	workgroup = AD
	netbios name = CLIENT
	security = ads
	kerberos method = system keytab
	disable netbios = yes
	private dir = /tmp/ad
	lock directory = /tmp/ad/lock
	state directory = /tmp/ad/lock
	cache directory = /tmp/ad/lock
	pid directory = /tmp/ad/lock
EOF
dc=$(dig +short -t SRV "_ldap._tcp.dc._msdcs.$domain" | awk '{print $4; exit}')
dc=${dc%.}
[ -n "$dc" ] || { echo "the name service knows no domain controller of $domain" >&2; exit 1; }

case $verb in
join)
	rm -f computer.keytab
	printf %s "$password" | adcli join --verbose --domain="$domain" --domain-realm="$realm" --domain-controller="$dc" \
		--computer-name=CLIENT --host-fqdn="client.$domain" --host-keytab=/tmp/ad/computer.keytab --login-user=Administrator --stdin-password
	# And once more as Samba's own members do, which changes the computer's key.
	printf '%s\n' "$password" | net ads join -s smb.conf -S "$dc" -U Administrator --no-dns-updates
	net ads testjoin -s smb.conf
	adcli update --domain="$domain" --domain-controller="$dc" --computer-name=CLIENT --host-keytab=/tmp/ad/computer.keytab >/dev/null 2>&1 || true
	;;
computer)
	net ads testjoin -s smb.conf
	;;
login)
	printf '%s\n' "$password" | kinit "$user@$realm"
	kvno "cifs/$dc"
	smbclient --use-kerberos=required "//$dc/netlogon" -c ls
	ldapsearch -Y GSSAPI -Q -LLL -H "ldap://$dc" -b "$(printf %s "$domain" | sed 's/^/dc=/; s/\./,dc=/g')" "(sAMAccountName=$user)" objectSid memberOf
	;;
*)
	echo "unknown verb $verb" >&2
	exit 2
	;;
esac
