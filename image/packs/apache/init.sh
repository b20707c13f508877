# Enables the modules, the configuration and the sites that this image counts on, in the way and with the memory of a2enmod and its
# brothers: what the administrator has disabled with them stays so. May be run again at any time.
set -eu
umask 022

# enable KIND NAME: KIND is what a2enmod's records call it.
enable() {
	[ ! -e "/var/lib/apache2/$1/disabled_by_admin/$2" ] || return 0
	case "$1" in
	module) place=mods suffix=load with=a2enmod ;;
	conf) place=conf suffix=conf with=a2enconf ;;
	site) place=sites suffix=conf with=a2ensite ;;
	esac
	[ -e "/etc/apache2/$place-available/$2.$suffix" ] || return 0
	[ ! -e "/etc/apache2/$place-enabled/$2.$suffix" ] || return 0
	if ! said=$("$with" --quiet "$2" 2>&1); then
		echo "apache: $with $2: $said" >&2
		exit 1
	fi
}

mkdir -p /var/log/apache2
# An image before this one put its settings here.
rm -f /etc/apache2/conf-enabled/00-atlas.conf
for m in headers proxy proxy_http rewrite ssl; do
	enable module "$m"
done
enable conf atlas
enable site 000-default
enable site atlas-verify
