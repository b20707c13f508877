# Makes a self-signed certificate for the site's host name and service address: cert.sh HOST ADDRESS. Replace both files by
# bought ones at any time. The certificate is moved into place last, since its presence says that all is done.
set -eu
umask 077
dir=/etc/ssl/atlas
mkdir -p "$dir"
chmod 0755 "$dir"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -sha256 \
	-subj "/CN=$1" -addext "subjectAltName=DNS:$1,IP:$2" \
	-keyout "$dir/web.key.new" -out "$dir/web.crt.new" 2>/dev/null
chmod 0644 "$dir/web.crt.new"
sync "$dir/web.key.new" "$dir/web.crt.new"
mv "$dir/web.key.new" "$dir/web.key"
mv "$dir/web.crt.new" "$dir/web.crt"
sync "$dir"
