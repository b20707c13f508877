# Has Samba look at a configuration: check.sh FILE. testparm calls one with unknown parameters good; smbd would pass over them.
set -eu
mkdir -p /run/samba # the checker has a /run of its own; that it is missing would be told first
code=0
said=$(testparm --suppress-prompt "$1" 2>&1 >/dev/null) || code=$?
# Until the domain is made its directories are missing. That is no mistake of the configuration, and on a slow machine it lasts for minutes.
if [ ! -e /var/lib/samba-ad/private ]; then
	said=$(echo "$said" | grep -v '^ERROR: .* directory .* does not exist$') || :
	case $said in *"Loaded services file OK"*) code=0 ;; esac
fi
[ "$code" = 0 ] || { echo "$said" >&2; exit 1; }
if echo "$said" | grep -E 'Unknown parameter|Ignoring|ERROR|Error|Badly formed|not valid|WARNING: The .* deprecated' >&2; then exit 1; fi
