# Prints what Postfix makes of main.cf and master.cf: effective.sh. What main.cf does not say has a tilde. Values that may hold a password are
# not printed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
postconf -n 2>"$work/err" | sed 's/ *=.*//' >"$work/set"
postconf 2>>"$work/err" >"$work/all"
postconf -n 2>/dev/null >"$work/own" # also those that main.cf makes up
postconf -M 2>>"$work/err" | awk '{ n = "master/" $1 "/" $2; $1 = $2 = ""; sub(/^ +/, ""); gsub(/ +/, " "); gsub(/ -o [^ ]+/, ""); print n " = " $0 }' >"$work/master"
# The options of a service, each by itself.
postconf -P 2>>"$work/err" | sed 's/^\([^ ]*\) = */master\/\1 = /; s/^\([^ ]*\) =$/master\/\1 = /' >>"$work/master"
sort -u "$work/all" "$work/own" | awk 'NR == FNR { set[$0] = 1; next } {
	i = index($0, " ="); n = substr($0, 1, i - 1); v = substr($0, i + 2); sub(/^ +/, "", v)
	if (n in done) next; done[n] = 1
	if (n ~ /(_pw|passwd|password|secret)$/ || v ~ /(static|inline):/ && n ~ /passw/) v = v == "" ? "" : "(not shown)"
	print (n in set ? "" : "~") n " = " v }' "$work/set" -
awk '{ if (!seen[$1]++) print }' "$work/master"
