# Puts the pages that the verifier reads onto the disk set, and the verification password where PHP and Apache can read it. Run at
# every start.
set -eu
umask 022
from=/usr/lib/atlas/packs/apache/www/atlas-verify
to=/srv/www/atlas-verify
mkdir -p "$to/private" "$to/vhost"
# put FROM TO
put() {
	cmp -s "$from/$1" "$to/$2" && return
	cp "$from/$1" "$to/$2.new"
	chmod 0644 "$to/$2.new"
	mv "$to/$2.new" "$to/$2"
}
put static.txt static.txt
put db.php db.php
put pg.php pg.php
put script.html script.html
put private/page.txt private/page.txt
put private/htaccess private/.htaccess
put vhost/index.html vhost/index.html

secret=/etc/atlas/verify.secret
[ -s "$secret" ] || { echo "apache: $secret is missing; the installer makes it" >&2; exit 1; }
web=/etc/atlas/verify-web.secret
users=/etc/atlas/verify-web.htpasswd
umask 077
if ! cmp -s "$secret" "$web" || [ ! -s "$users" ]; then
	# The cheapest of the good hashes: it is computed with each request, and the password is a long random one.
	htpasswd -n -i -B -C 4 atlas-verify <"$secret" >"$users.new"
	cp "$secret" "$web.new"
	for f in "$users" "$web"; do
		chown root:www-data "$f.new"
		chmod 0640 "$f.new"
		sync "$f.new"
		mv "$f.new" "$f"
	done
fi
