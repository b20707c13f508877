# Tells whether the site's certificate is one, and has its key. One that is not for this name, or not for long, is told by others; services
# run with it.
set -eu
dir=/etc/ssl/atlas
openssl x509 -in "$dir/site.crt" -noout
[ "$(openssl x509 -in "$dir/site.crt" -noout -pubkey)" = "$(openssl pkey -in "$dir/site.key" -pubout)" ] ||
	{ echo "certificate: $dir/site.key is not the key of $dir/site.crt" >&2; exit 1; }
