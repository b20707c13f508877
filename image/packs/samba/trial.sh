# Starts smbd with the converted configuration on empty databases of its own, and connects: trial.sh. testparm does not try what is named: a
# passdb backend or a module that is not there.
set -eu
said=$(mktemp)
fail() {
	echo "samba: $1" >&2
	w=$(grep -iE 'error|fail|not |unknown|panic|unable' "$said" | head -n 10) || :
	[ -n "$w" ] || w=$(tail -n 10 "$said")
	echo "$w" >&2
	! grep -qE 'Read-only file system|No space left|Cannot allocate memory|Errcode: (28|30)' "$said" || exit 75 # of the trial's own place
	exit 1
}
mkdir -p /run/samba/ncalrpc /var/lib/samba/private /var/log/samba
for a in $(testparm -s --suppress-prompt --parameter-name=interfaces 2>/dev/null); do
	case $a in *[0-9].*[0-9]* | *:*) ip addr add "$a" dev lo 2>/dev/null || : ;; esac
done
# What the configuration leans on: settings in the registry, the membership in a domain.
for f in registry.tdb private/secrets.tdb private/passdb.tdb; do
	[ ! -e /run/was/var/lib/samba/$f ] || cp /run/was/var/lib/samba/$f /var/lib/samba/$f
done
port=$(testparm -s --suppress-prompt --parameter-name='smb ports' 2>/dev/null | awk '{ print $1 }')
# In a group of its own, all of which it ends when it ends.
setsid /usr/sbin/smbd --foreground --no-process-group --debug-stdout >"$said" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null || :' EXIT
n=0
until bash -c "exec 3<>/dev/tcp/127.0.0.1/${port:-445}" 2>/dev/null; do
	n=$((n + 1))
	kill -0 $pid 2>/dev/null || fail "it ends when it is started with this configuration:"
	[ $n -lt 1000 ] || fail "nobody can connect with this configuration:"
	sleep 0.1
done
sleep 0.5
kill -0 $pid 2>/dev/null || fail "it ends soon after it is started with this configuration:"
