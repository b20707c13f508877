# Has Samba look at a configuration: check.sh [FILE]. testparm calls one with unknown parameters good; smbd would pass over them.
set -eu
mkdir -p /run/samba # the checker has a /run of its own; that it is missing would be told first
said=$(testparm --suppress-prompt "${1-/etc/samba/smb.conf}" 2>&1 >/dev/null) || { echo "$said" >&2; exit 1; }
if echo "$said" | grep -E 'Unknown parameter|Ignoring|ERROR|Error|Badly formed|not valid|WARNING: The .* deprecated' >&2; then exit 1; fi
