# What Samba keeps in its own databases: export.sh users|registry dump|load. dump prints text, the same for the same state; load makes the
# database equal to the text on standard input.
# users: one account a line, separated by |: name, account flags, NT hash, time of the last change of the password, SID, full name,
# home directory, its drive, logon script, profile, description; the last line is END. Times of logins and counts of failures are left out. Who has no
# account of this server (passwd) cannot have one for shares.
# registry: HKLM\software\samba, where `net conf` keeps shares and settings; then, after a line GROUPS, Windows' groups and their Unix groups.
set -eu
umask 077
export LC_ALL=C
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# users_dump [-b BACKEND]
users_dump() {
	pdbedit "$@" -L -w >"$work/w"
	pdbedit "$@" -L -v >"$work/v"
	awk -F ':' '
		# name:uid:LM:NT:[flags]:LCT-time:
		NR == FNR { f = $5; gsub(/ /, "", f); t = $6; sub(/^LCT-/, "", t); first[$1] = f "|" $4 "|" t; next }
		/^Unix username: / { name = value(); next }
		/^(User SID|Full Name|Home Directory|HomeDir Drive|Logon Script|Profile Path|Account desc): / { rest[name] = rest[name] "|" value() }
		function value(v) { v = $0; sub(/^[^:]*:[ \t]*/, "", v); gsub(/\|/, "?", v); return v }
		END { for (name in first) print name "|" first[name] rest[name] }
	' "$work/w" "$work/v" | sort
	echo END
}

users_load() {
	cat >"$work/want"
	[ "$(tail -n 1 "$work/want")" = END ] || { echo "samba: the text to load is not whole: its last line is not END" >&2; exit 1; }
	users_dump >"$work/have"
	if cmp -s "$work/want" "$work/have"; then exit 0; fi
	cut -d '|' -f 1 "$work/want" >"$work/names"
	cut -d '|' -f 1 "$work/have" | grep -vxF -f "$work/names" | while read -r name; do
		pdbedit -x -u "$name" >/dev/null
	done
	# `|` and not a blank, so that empty fields stay.
	grep -vxF -f "$work/have" "$work/want" | while IFS='|' read -r name flags nt changed sid full home drive script profile text; do
		id=$(id -u "$name") || { echo "samba: $name has no account on this server (/etc/passwd)" >&2; exit 1; }
		# The hash by a file that only root reads: arguments are seen by everyone. It takes no account away and makes one, with a SID that follows
		# from the user's number: who logged in before the right one is set would be kept from his own files. Until then the account is disabled.
		inner=${flags#[}
		inner=${inner%]}
		printf '%s:%s:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:%s:[%-11s]:LCT-%s:\n' "$name" "$id" "$nt" "${inner}D" "$changed" >"$work/import"
		rm -f "$work/beside.tdb"
		pdbedit -i "smbpasswd:$work/import" -e "tdbsam:$work/beside.tdb" >/dev/null
		set -- -r -u "$name" -U "$sid" -f "$full" -N "$text" -c "[$(printf %s "$inner" | tr -cd NDHLX)]"
		# What follows from the settings of Samba must not be written down: it would no longer follow.
		users_dump -b "tdbsam:$work/beside.tdb" | grep "^$name|" | cut -d '|' -f 7-10 >"$work/follows"
		IFS='|' read -r home0 drive0 script0 profile0 <"$work/follows"
		[ "$home" = "$home0" ] || set -- "$@" -h "$home"
		[ "$drive" = "$drive0" ] || set -- "$@" -D "$drive"
		[ "$script" = "$script0" ] || set -- "$@" -S "$script"
		[ "$profile" = "$profile0" ] || set -- "$@" -p "$profile"
		pdbedit -i "smbpasswd:$work/import" >/dev/null
		pdbedit "$@" >/dev/null
		# smbd remembers for a week which SID a user's number has, and by that whose files are: with another one he is kept from his own.
		for key in "UID2SID/$id" "SID2XID/$sid" "SID2XID/$(grep "^$name|" "$work/have" | cut -d '|' -f 5)"; do
			net cache del "IDMAP/$key" >/dev/null 2>&1 || :
		done
	done
	users_dump >"$work/have"
	cmp -s "$work/want" "$work/have" || { echo "samba: the accounts could not be made equal to those given" >&2; exit 1; }
}

registry_dump() {
	# Its own order is that of the names; the first line and the last three are not the registry's.
	net registry export 'HKLM\software\samba' "$work/registry" >/dev/null 2>&1
	sed -e '/^;/d' "$work/registry"
	echo GROUPS
	net groupmap list 2>/dev/null | sort
}

registry_load() {
	cat >"$work/want"
	registry_dump >"$work/have"
	if cmp -s "$work/want" "$work/have"; then exit 0; fi
	grep -qxF '[HKLM\software\samba\smbconf]' "$work/want" || { echo "samba: the text to load is not whole: it does not have the registry's smbconf" >&2; exit 1; }
	sed '/^GROUPS$/,$d' "$work/want" >"$work/import"
	sed '/^GROUPS$/,$d' "$work/have" >"$work/import.have"
	if ! cmp -s "$work/import" "$work/import.have"; then
		# What is not named in the text goes: keys of shares that are no more, then single values.
		sed -n 's/^\[\(.*\)\]$/\1/p' "$work/import" >"$work/keys"
		sed -n 's/^\[\(HKLM\\software\\samba\\.*\)\]$/\1/p' "$work/import.have" | while read -r key; do
			grep -qxF -e "$key" "$work/keys" || net registry deletekey_recursive "$key" >/dev/null 2>&1 || :
		done
		awk '
			/^\[/ { key = substr($0, 2, length($0) - 2); next }
			match($0, /^"[^"]*"=/) { name = substr($0, 2, RLENGTH - 3); if (NR == FNR) want[key "\001" name]; else if (!((key "\001" name) in want)) print key "\001" name }
		' "$work/import" "$work/import.have" | while IFS=$(printf '\001') read -r key name; do
			net registry deletevalue "$key" "$name" >/dev/null 2>&1 || :
		done
		net registry import "$work/import" >/dev/null
		smbcontrol smbd reload-config >/dev/null 2>&1 || :
	fi
	sed '1,/^GROUPS$/d' "$work/want" >"$work/groups"
	net groupmap list 2>/dev/null | sort >"$work/groups.have"
	# NT group (SID) -> unixgroup
	split='s/^\(.*\) (\(S-[0-9-]*\)) -> \(.*\)$/\1|\2|\3/p'
	grep -vxF -f "$work/groups" "$work/groups.have" | sed -n "$split" | while IFS='|' read -r _ sid _; do
		net groupmap delete "sid=$sid" >/dev/null
	done
	grep -vxF -f "$work/groups.have" "$work/groups" | sed -n "$split" | while IFS='|' read -r name sid unix; do
		kind=domain
		case "$sid" in S-1-5-32-*) kind=builtin ;; esac
		net groupmap add "sid=$sid" "ntgroup=$name" "unixgroup=$unix" "type=$kind" >/dev/null
	done
	registry_dump >"$work/have"
	cmp -s "$work/want" "$work/have" || { echo "samba: registry and groups could not be made equal to those given" >&2; exit 1; }
}

case "${1-} ${2-}" in
"users dump") users_dump ;;
"users load") users_load ;;
"registry dump") registry_dump ;;
"registry load") registry_load ;;
*)
	echo "usage: export.sh users|registry dump|load" >&2
	exit 2
	;;
esac
