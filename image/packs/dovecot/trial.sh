# Starts Dovecot on the converted configuration, has it say who the verification account is, and whether its password is right: trial.sh
# Its checker tells the first mistake only, and passes over what is wrong in a value: a variable of the other release in auth_username_format
# lets nobody in.
set -eu
fail() {
	echo "dovecot: $1" >&2
	tail -n 15 "$said" >&2
	! grep -qE 'Read-only file system|No space left|Cannot allocate memory|Errcode: (28|30)' "$said" || exit 75 # of the trial's own place
	exit 1
}
said=$(mktemp)
for a in $(doveconf -h listen 2>/dev/null | tr ',' ' '); do
	case $a in 127.* | ::1 | '*' | ::) ;; *) ip addr add "$a" dev lo 2>/dev/null || : ;; esac
done
mkdir -p /run/dovecot
chown atlas-verify /var/lib/atlas-verify 2>/dev/null || :
/usr/sbin/dovecot -F >"$said" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null || :' EXIT
n=0
until [ -S /run/dovecot/auth-userdb ] && [ -S /run/dovecot/auth-client ]; do
	n=$((n + 1))
	kill -0 $pid 2>/dev/null || fail "it ends when it is started with this configuration:"
	[ $n -lt 1000 ] || fail "it does not start with this configuration:"
	sleep 0.1
done
grep -q '^atlas-verify:' /etc/dovecot/atlas-verify 2>/dev/null || exit 0 # without the account there is nobody to ask for
out=$(timeout 60 doveadm user atlas-verify 2>&1) || fail "it does not find the verification account with this configuration: $out"
[ -s /etc/atlas/verify.secret ] || exit 0
out=$(timeout 60 doveadm auth test -x service=imap atlas-verify "$(cat /etc/atlas/verify.secret)" 2>&1) || fail "it refuses the right password with this configuration: $out"
