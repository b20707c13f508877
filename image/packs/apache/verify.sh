# Puts the pages that the verifier reads onto the disk set, and the verification password where PHP can read it. Run at every start.
set -eu
umask 022
from=/usr/lib/atlas/packs/apache/www/atlas-verify
to=/srv/www/atlas-verify
mkdir -p "$to"
for f in static.txt db.php; do
	cmp -s "$from/$f" "$to/$f" && continue
	cp "$from/$f" "$to/.$f.new"
	chmod 0644 "$to/.$f.new"
	mv "$to/.$f.new" "$to/$f"
done
secret=/etc/atlas/verify.secret
[ -s "$secret" ] || { echo "apache: $secret is missing; the installer makes it" >&2; exit 1; }
web=/etc/atlas/verify-web.secret
if ! cmp -s "$secret" "$web"; then
	umask 077
	cp "$secret" "$web.new"
	chown root:www-data "$web.new"
	chmod 0640 "$web.new"
	sync "$web.new"
	mv "$web.new" "$web"
fi
