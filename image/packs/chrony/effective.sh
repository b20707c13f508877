# Prints what chronyd makes of its configuration: effective.sh. Words that stand there several times are told by their first argument.
set -eu
said=$(/usr/sbin/chronyd -p -f /etc/chrony/chrony.conf)
echo "$said" | awk '/^[ \t]*($|[#!;%])/ { next }
	{ n = tolower($1); $1 = ""; sub(/^ +/, "")
	  if (n ~ /^(pool|server|peer|refclock|allow|deny|cmdallow|cmddeny|sourcedir|confdir|include)$/ && $0 != "") { a = $1; sub(/^[^ ]+ ?/, ""); n = n " " a }
	  if (!(n in v)) o[++c] = n
	  v[n] = n in v ? v[n] " | " $0 : $0 }
	END { for (i = 1; i <= c; i++) print o[i] " = " v[o[i]] }'
