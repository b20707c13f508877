# Starts Apache with the converted configuration, and asks it for a page by PHP: trial.sh. Its checker tells the first mistake only, and PHP passes
# over what is wrong in a php.ini, and says nothing.
set -eu
work=$(mktemp -d)
said=$work/said
fail() {
	echo "apache: $1" >&2
	tail -n 15 "$said" >&2
	! grep -qE 'Read-only file system|No space left|Cannot allocate memory' "$said" || exit 75 # of the trial's own place
	exit 1
}
export APACHE_CONFDIR=/etc/apache2
set +u
. /etc/apache2/envvars
set -u
mkdir -p /run/lock # the trial has a /run of its own
mkdir -p "$APACHE_RUN_DIR" "$APACHE_LOCK_DIR" /run/php "$work/www"
chown www-data "$APACHE_LOCK_DIR" 2>/dev/null || :
chmod 0755 "$work" "$work/www"
printf '%s' '<?php echo "php works: ", 6 * 7; ' >"$work/www/page.php"
sed -n 's/^[[:space:]]*Listen[[:space:]]*\(\[\{0,1\}[0-9a-fA-F.:]*\]\{0,1\}\):[0-9]*.*/\1/p' /etc/apache2/ports.conf | tr -d '[]' | sort -u | while read -r a; do
	ip addr add "$a" dev lo 2>/dev/null || :
done
# A port and a site of its own, so that no site of the configuration answers instead.
cat >"$work/site.conf" <<END
ErrorLog $work/main
<VirtualHost 127.0.0.1:9>
	DocumentRoot $work/www
	ErrorLog $work/errors
	<Directory $work/www>
		Require all granted
	</Directory>
</VirtualHost>
END
# In a group of its own, all of which it ends when it ends.
setsid /usr/sbin/apache2 -DFOREGROUND -C 'Listen 127.0.0.1:9' -c "Include $work/site.conf" -E "$said" >>"$said" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null || :' EXIT
n=0
until got=$(bash -c 'exec 3<>/dev/tcp/127.0.0.1/9; printf "GET /page.php HTTP/1.0\r\nHost: trial\r\n\r\n" >&3; cat <&3' 2>/dev/null) && [ -n "$got" ]; do
	n=$((n + 1))
	kill -0 $pid 2>/dev/null || fail "it ends when it is started with this configuration:"
	[ $n -lt 1000 ] || fail "it does not answer with this configuration:"
	sleep 0.1
done
case $got in
*"php works: 42"*) ;;
*)
	{ echo "$got" | head -n 3; cat "$work/errors" 2>/dev/null; } >>"$said"
	fail "a page by PHP is not made with this configuration:"
	;;
esac
if cat "$said" "$work/main" "$work/errors" 2>/dev/null | grep -E 'PHP.*(syntax error|Unable to load|Failed loading|Fatal)' >"$work/php"; then
	cp "$work/php" "$said"
	fail "PHP starts with this configuration, and says:"
fi
