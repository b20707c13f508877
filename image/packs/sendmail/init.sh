# Makes sendmail.cf and submit.cf of their sources where these are newer, and the databases. Run at every start.
set -eu
umask 022
cd /etc/mail
build() {
	if [ -e "$1.cf" ] && [ -z "$(find "$1.mc" m4 -newer "$1.cf" -print -quit)" ]; then
		return
	fi
	m4 "$1.mc" >"$1.cf.new" || {
		echo "sendmail: /etc/mail/$1.mc cannot be read; correct it" >&2
		exit 1
	}
	sync "$1.cf.new"
	mv "$1.cf.new" "$1.cf"
}
build sendmail
build submit
touch access local-host-names
if [ ! -e access.db ] || [ access -nt access.db ]; then
	makemap hash access.new <access
	sync access.new.db
	mv access.new.db access.db
fi
[ -e aliases ] || ln -s ../aliases aliases
if [ ! -e aliases.db ] || [ /etc/aliases -nt aliases.db ]; then
	sendmail -bi
	sync aliases.db
fi
install -d -m 2750 -o smmta -g smmsp /var/spool/mqueue
install -d -m 2770 -o smmsp -g smmsp /var/spool/mqueue-client
install -d -m 2750 -o smmta -g smmsp /var/lib/sendmail /var/lib/sendmail/host_status
