# Prints what MariaDB makes of its files: effective.sh. What no file says has a tilde. Asked for help, mariadbd reads all files and their values
# first; it gets an empty directory, since it looks into that of the data.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/data"
my_print_defaults --mysqld >"$work/set"
/usr/sbin/mariadbd --datadir="$work/data" --verbose --help >"$work/said" 2>"$work/err" || { grep -v '\[Warning\]' "$work/err" >&2; exit 1; }
sed -n 's/^--\(skip-\|skip_\|loose-\|loose_\)*\([^=]*\).*/\2/p' "$work/set" | tr - _ >"$work/names"
sed -n '/^-----/,/^$/p' "$work/said" | awk -v set="$work/names" 'BEGIN { while ((getline n < set) > 0) said[n] = 1 }
	/^-----/ || NF == 0 { next }
	{ n = $1; gsub(/-/, "_", n); v = $0; sub(/^[^ ]+ */, "", v); if (n in done || n == "datadir") next; done[n] = 1
	  if (v == "(No default value)") v = ""
	  if (n ~ /password$/ && v != "") v = "(not shown)"
	  print (n in said || "skip_" n in said ? "" : "~") n " = " v }'
