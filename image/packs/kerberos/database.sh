# The realm's accounts and policies with their keys: database.sh dump|load REALM. dump prints one account a line, sorted, without what
# logins leave (times and counts of failures); its first line is the master key that all other keys are encrypted with. load makes the
# realm's database equal to the text on standard input, master key included.
set -eu
umask 077
export LC_ALL=C
data=/var/lib/krb5kdc
realm=$2

dump() {
	printf 'master key\t%s\n' "$(base64 -w 0 "$data/stash")"
	# Fields as in dump version 7: 13 the last success, 14 the last failure, 15 the failures since.
	kdb5_util -r "$realm" dump | awk -F '\t' -v OFS='\t' 'NR == 1 { next } $1 == "princ" { $13 = $14 = $15 = 0 } { print }' | sort
}

# keep keeps a dump beside the database: a release that does not read the database makes its own of it (init.sh). A dump and a load may be
# at it at the same time.
keep() {
	cmp -s "$1" "$data/last.dump" && return
	cp "$1" "$data/last.dump.new.$$"
	sync "$data/last.dump.new.$$"
	mv "$data/last.dump.new.$$" "$data/last.dump"
	sync "$data"
}

case "$1" in
dump)
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	dump >"$work/have"
	keep "$work/have"
	cat "$work/have"
	;;
load)
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	cat >"$work/want"
	if ! head -n 1 "$work/want" | grep -q '^master key	.' || ! grep -qF "	krbtgt/$realm@$realm	" "$work/want"; then
		echo "kerberos: the text to load is not whole, or of another realm than $realm" >&2
		exit 1
	fi
	dump >"$work/have"
	if cmp -s "$work/want" "$work/have"; then
		keep "$work/have"
		exit 0
	fi
	{
		echo 'kdb5_util load_dump version 7'
		tail -n +2 "$work/want"
	} >"$work/dump"
	head -n 1 "$work/want" | cut -f 2 | base64 -d >"$work/stash"
	other=
	cmp -s "$work/stash" "$data/stash" || other=yes
	# The accounts are replaced as a whole. Between the two steps nothing fits; it is done again at the next load if it ends here.
	kdb5_util -r "$realm" load "$work/dump"
	if [ -n "$other" ]; then
		cp "$work/stash" "$data/stash.new"
		sync "$data/stash.new"
		mv "$data/stash.new" "$data/stash"
		sync "$data"
		# Both read the master key at their start only.
		atlas service restart kerberos >/dev/null
	fi
	dump >"$work/have"
	cmp -s "$work/want" "$work/have" || { echo "kerberos: the accounts could not be made equal to those given" >&2; exit 1; }
	keep "$work/have"
	;;
*)
	echo "usage: database.sh dump|load REALM" >&2
	exit 2
	;;
esac
