# Has cron look at all its tables, and logrotate at its files. crontab wants to write where the tables are, so that is an empty folder here,
# and they are below /run/was. Not every cron can be asked; one that cannot says how it is used.
set -eu
mkdir -p -m 1730 /var/spool/cron/crontabs
bad=
for f in /etc/crontab /etc/cron.d/* /run/was/var/spool/cron/crontabs/*; do
	case "${f##*/}" in
	'*' | tmp.* | *.dpkg-*) continue ;;
	esac
	[ -f "$f" ] || continue
	said=$(crontab -n "$f" 2>&1) && continue
	case "$said" in *"invalid option"*) break ;; esac
	printf '%s\n' "$said" | sed "s|^|${f#/run/was}: |" >&2
	bad=yes
done
said=$(logrotate -d /etc/logrotate.conf 2>&1) || bad=yes
if echo "$said" | grep '^error:' >&2; then bad=yes; fi
[ -z "$bad" ]
