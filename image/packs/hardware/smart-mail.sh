#!/bin/sh
# smartd has something to say: into the system's log, and to whom smartd.conf names, where a mail service runs. In place of Debian's
# own script, which needs the program mail and fails without it.
set -eu
logger -p daemon.crit -t smartd -- "${SMARTD_SUBJECT:-SMART}: ${SMARTD_MESSAGE:-see smartctl -a ${SMARTD_DEVICE:-}}"
[ -x /usr/sbin/sendmail ] || exit 0
for address in ${SMARTD_ADDRESS:-}; do
	printf 'To: %s\nSubject: %s\n\n%s\n' "$address" "${SMARTD_SUBJECT:-SMART}" "${SMARTD_FULLMESSAGE:-}" | /usr/sbin/sendmail -i "$address"
done
