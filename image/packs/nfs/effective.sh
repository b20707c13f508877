# Prints what NFS makes of its files: effective.sh. exportfs would have to export in order to tell, so the shares are told as they are written,
# in one line each; but not the verifier's, which names this server's own addresses.
set -eu
nfsconf --dump 2>/dev/null | awk '/^\[/ { s = substr($1, 2, length($1) - 2); next } / = / { n = $1; v = $0; sub(/^[^=]*= */, "", v); print s "/" n " = " v }'
for f in /etc/exports /etc/exports.d/*.exports; do
	[ -e "$f" ] && [ "${f##*/}" != atlas-verify.exports ] || continue
	sed -e ':a' -e '/\\$/ { N; s/\\\n//; ba' -e '}' -e '/^[[:space:]]*#/d' -e '/^[[:space:]]*$/d' "$f"
done | awk '{ p = $1; $1 = ""; sub(/^ +/, ""); all[p] = p in all ? all[p] " | " $0 : $0; if (!seen[p]++) o[++c] = p } END { for (i = 1; i <= c; i++) print "export " o[i] " = " all[o[i]] }'
