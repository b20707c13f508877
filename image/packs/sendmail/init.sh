# Makes sendmail.cf and submit.cf of their sources where these are newer, and the databases. May be run again at any time.
set -eu
umask 022
cd /etc/mail
# Those of the image are as old as their sources, and made on another machine.
build() {
	if [ "$1.cf" -nt "$1.mc" ] && [ -z "$(find m4 -newer "$1.cf" -print -quit)" ]; then
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
[ -e access ] || touch access
if [ ! access.db -nt access ]; then
	makemap hash access.new <access
	sync access.new.db
	mv access.new.db access.db
fi
[ -e aliases ] || ln -s ../aliases aliases
if [ ! aliases.db -nt /etc/aliases ]; then
	sendmail -bi
	sync aliases.db
fi
install -d -m 2750 -o smmta -g smmsp /var/spool/mqueue
install -d -m 2770 -o smmsp -g smmsp /var/spool/mqueue-client
install -d -m 2750 -o smmta -g smmsp /var/lib/sendmail /var/lib/sendmail/host_status
