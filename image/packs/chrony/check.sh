# Has chronyd read its configuration, and the one for a twin.
set -eu
for f in /etc/chrony/chrony.conf /etc/chrony/atlas-twin.conf; do
	chronyd -p -f "$f" >/dev/null
done
