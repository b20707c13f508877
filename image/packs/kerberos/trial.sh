# Makes a realm with the converted configuration, with one account in it, starts the KDC and logs in: trial.sh REALM. The directory of the
# accounts is an empty one here. There is no checker that looks at what the words mean, and kdc.conf may name encryption that is gone.
set -eu
umask 077
realm=$1
data=/var/lib/krb5kdc
work=$(mktemp -d)
said=$work/said
: >"$said"
fail() {
	echo "kerberos: $1" >&2
	tail -n 10 "$said" >&2
	! grep -qE 'Read-only file system|No space left|Cannot allocate memory|Errcode: (28|30)' "$said" || exit 75 # of the trial's own place
	exit 1
}
[ ! -e "/run/was$data/database.conf" ] || cp "/run/was$data/database.conf" "$data/"
for a in $(sed -n 's/^[[:space:]]*kdc_listen = //p' /etc/krb5kdc/atlas.conf 2>/dev/null | tr -d '[]'); do
	case $a in 127.* | ::1) ;; *) ip addr add "$a" dev lo 2>/dev/null || : ;; esac
done
printf 'trial-master\ntrial-master\n' | kdb5_util -r "$realm" create -s >"$said" 2>&1 || fail "no realm can be made with this configuration:"
printf 'trial-word\ntrial-word\n' | kadmin.local -r "$realm" addprinc trial >"$said" 2>&1 || fail "no account can be made with this configuration:"
kadmin.local -r "$realm" getprinc trial >"$said" 2>&1 || fail "no account can be made with this configuration:"
grep -q '^Key: vno' "$said" || fail "accounts get no keys with this configuration; look at supported_enctypes:"
# Clients look for the KDC by name; here it is the one of this machine.
kdc=$(sed -n 's/^[[:space:]]*kdc_listen = \([^ ]*\).*/\1/p' /etc/krb5kdc/atlas.conf 2>/dev/null | head -n 1)
printf '[realms]\n\t%s = {\n\t\tkdc = %s\n\t}\n' "$realm" "${kdc:-127.0.0.1}" >"$work/first.conf"
krb5kdc -n -r "$realm" >"$said" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null || :' EXIT
n=0
until echo trial-word | KRB5_CONFIG=$work/first.conf:/etc/krb5.conf KRB5CCNAME=$work/ticket timeout 10 kinit "trial@$realm" >"$work/login" 2>&1; do
	n=$((n + 1))
	kill -0 $pid 2>/dev/null || fail "the KDC ends when it is started with this configuration:"
	[ $n -lt 100 ] || { cat "$work/login" >>"$said"; fail "nobody can log in with this configuration:"; }
	sleep 0.3
done
