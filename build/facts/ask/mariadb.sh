# mariadbd: its listing without any file, then every word of the program that could be an option and is not in the listing: what does it say
# to it? Said loosely, what it does not know is a warning and no end.
cd /tmp
echo "@@ version"; mariadbd --version
echo "@@ listing"; mariadbd --no-defaults --verbose --help 2>/dev/null | tee help
{
	sed -n 's/^  -\(.,\| \) --\([a-z0-9_-]*\).*/\2/p; s/^  --\([a-z0-9_-]*\).*/\1/p' help
	sed -n '/^-----/,/^$/p' help | awk '{ print $1 }'
} | tr _ - | sort -u >listed
# Abbreviations of what is listed are no options of their own. The linker may have stored a name as the end of a longer one.
grep -aoE '[a-z][a-z0-9]+([_-][a-z0-9]+)+' /usr/sbin/mariadbd | tr _ - | sort -u |
	awk '{ print; while (sub(/^[a-z0-9]+-/, "")) if (/-/) print }' | sort -u |
	awk 'NR == FNR { for (i = 1; i <= length($0); i++) p[substr($0, 1, i)] = 1; next }
		{ s = $0; sub(/^(loose|skip|disable|enable|maximum)-/, "", s); if (!($0 in p) && !(s in p)) print }' listed - >words
{ echo '[mysqld]'; sed 's/^/loose-/; s/$/=1/' words; } >words.cnf
echo "@@ probe"; mariadbd --defaults-file=/tmp/words.cnf --verbose --help 2>&1 >/dev/null | grep -v 'unknown \(variable\|option\)'
echo "@@ modules"; ls "$(sed -n 's/^plugin-dir  *//p' help)" | sed -n 's/\.so$//p'
