# Gives the verification account its password. Run at every start.
set -eu
secret=/etc/atlas/verify.secret
[ -s "$secret" ] || { echo "samba: $secret is missing; the installer makes it" >&2; exit 1; }
password=$(cat "$secret")
printf '%s\n%s\n' "$password" "$password" | smbpasswd -s -a atlas-verify >/dev/null
