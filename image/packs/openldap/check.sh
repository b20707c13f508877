# Has OpenLDAP look at cn=config. It wants to write to it and to the databases, so it gets a copy, with places of its own.
set -eu
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R /etc/ldap/slapd.d "$work/slapd.d"
mkdir "$work/data"
sed -n 's/^olcDbDirectory: //p' "$work/slapd.d/cn=config"/*.ldif | while read -r dir; do
	[ -d "$dir" ] || { echo "openldap: there is no directory $dir, which olcDbDirectory names" >&2; exit 1; }
done
# Without their checksums, which would be wrong now.
sed -i -e "s|^olcPidFile: .*|olcPidFile: $work/pid|" -e "s|^olcArgsFile: .*|olcArgsFile: $work/args|" -e '/^# CRC32 /d' "$work/slapd.d/cn=config.ldif"
sed -i -e "s|^olcDbDirectory: .*|olcDbDirectory: $work/data|" -e '/^# CRC32 /d' "$work/slapd.d/cn=config"/olcDatabase=*.ldif
said=$(slaptest -u -F "$work/slapd.d" 2>&1) || { echo "$said" | sed "s|$work|/etc/ldap|g" >&2; exit 1; }
