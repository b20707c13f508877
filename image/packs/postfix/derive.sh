# Makes Postfix's tables anew of the files that they come from, where these are newer or the table is missing: derive.sh
set -eu
newer() { [ ! -e "$1.db" ] || [ "$1" -nt "$1.db" ]; }
if newer /etc/aliases; then newaliases; fi
# Those that main.cf names, as hash:FILE or btree:FILE; others are somebody's own.
postconf -xn | grep -oE '\b(hash|btree):/etc/postfix/[^, {}]+' | sort -u | while IFS=: read -r kind file; do
	[ -e "$file" ] || continue
	if newer "$file"; then postmap "$kind:$file"; fi
done
