# Prints what Samba makes of its configuration, shares included: effective.sh. What is as it would be with an empty file has a tilde.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# section: "name = value" of [global], "[share] name = value" of shares; testparm prints of those what is not as in [global].
flat() {
	awk '/^\[/ { s = $0 " "; if (tolower($0) == "[global]") s = ""; next }
		/ = |=$/ { sub(/^[ \t]+/, ""); i = index($0, "="); n = substr($0, 1, i - 1); sub(/ +$/, "", n); v = substr($0, i + 1); sub(/^ +/, "", v); print s n " = " v }'
}
# A problem in it is told by the checker; here counts what is left.
testparm -sv --suppress-prompt /dev/null 2>/dev/null | flat >"$work/default"
testparm -sv --suppress-prompt /etc/samba/smb.conf >"$work/said" 2>"$work/err" || { cat "$work/err" >&2; exit 1; }
flat <"$work/said" | awk 'NR == FNR { d[$0] = 1; next } !seen[$0]++ { print ($0 in d ? "~" : "") $0 }' "$work/default" -
