# Has cron look at all its tables, and logrotate at its files. crontab wants to write where the tables are, so it gets a place of its own.
# -U, so that it may have one without being able to mount anything. Not every cron can be asked; one that cannot says how it is used.
set -eu
if [ "${1-}" != inside ]; then
	exec unshare -Urm --propagation private sh "$0" inside
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/crontabs"
cp /var/spool/cron/crontabs/* "$work/crontabs/" 2>/dev/null || :
mount -t tmpfs -o mode=1777 tmpfs /var/spool/cron
mkdir -m 1730 /var/spool/cron/crontabs

bad=
for f in /etc/crontab /etc/cron.d/* "$work"/crontabs/*; do
	case "${f##*/}" in
	'*' | tmp.* | *.dpkg-*) continue ;;
	esac
	[ -f "$f" ] || continue
	said=$(crontab -n "$f" 2>&1) && continue
	case "$said" in *"invalid option"*) break ;; esac
	printf '%s\n' "$said" | sed "s|^|$(echo "$f" | sed "s|^$work|/var/spool/cron|"): |" >&2
	bad=yes
done
said=$(logrotate -d /etc/logrotate.conf 2>&1) || bad=yes
if echo "$said" | grep '^error:' >&2; then bad=yes; fi
[ -z "$bad" ]
