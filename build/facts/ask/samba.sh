# testparm: its listing with nothing set, the same said aloud (what is on its way out?), then every phrase of the libraries that could be a
# parameter and is not in the listing: does it know it, and what does it change?
mkdir -p /run/samba
ask() { testparm -sv "$1" 2>/dev/null | sed -n 's/^\t//p'; }
echo "@@ version"; testparm -V
echo "@@ listing"; ask /dev/null | tee /tmp/base
{ echo '[global]'; cat /tmp/base; } >/tmp/all.conf
echo "@@ deprecated"; testparm -s /tmp/all.conf 2>&1 >/dev/null | grep deprecated
echo "@@ probe"
# One file of all phrases: it tells every one that it does not know and goes on, and stops at one that it knows and that has no such value.
sed 's/ = .*/ = no/' /tmp/base >/tmp/listed
# The linker may have stored a name as the end of a longer one: so all ends as well.
cat /usr/lib/*/libsmbconf.so.0 /usr/lib/*/libsamba-hostconfig.so.0 /usr/lib/*/samba/libsamba-hostconfig*.so* 2>/dev/null | grep -aoE '[a-z][a-z0-9]*( [a-z0-9]+)*' |
	awk '{ print; while (sub(/^[a-z0-9]+ /, "")) print }' | grep -vxE 'include|config file|copy|config backend' | sort -u | sed 's/$/ = no/' |
	grep -vxiFf /tmp/listed >/tmp/left
: >/tmp/known
for n in $(seq 100); do
	{ echo '[global]'; cat /tmp/left; } >/tmp/words.conf
	testparm -s /tmp/words.conf >/tmp/said 2>&1
	sed -n 's/.*Unknown parameter encountered: "\(.*\)"/\1 = no/p' /tmp/said >/tmp/bad
	if grep -q 'Error loading' /tmp/said; then # at the one behind the last that it did not know, or soon after
		last=$(tail -n 1 /tmp/bad)
		stop=$(awk -v last="$last" 'last == "" || found { print; exit } $0 == last { found = 1 }' /tmp/left)
		[ -n "$stop" ] && echo "${stop% = no}" >>/tmp/known && echo "$stop" >>/tmp/bad
	fi
	grep -vxFf /tmp/bad /tmp/left >/tmp/next
	grep -q 'Error loading' /tmp/said && ! cmp -s /tmp/left /tmp/next || break
	mv /tmp/next /tmp/left
done
mv /tmp/next /tmp/left
sed 's/ = no$//' /tmp/left >>/tmp/known
sort -u /tmp/known | while read -r k; do
	to=
	for v in no yes 7 x; do
		printf '[global]\n%s = %s\n' "$k" "$v" >/tmp/one.conf
		ask /tmp/one.conf >/tmp/now
		[ -s /tmp/now ] || continue
		to=$(diff /tmp/base /tmp/now | sed -n 's/^> \(.*\) = .*/\1/p' | head -n 1)
		[ -n "$to" ] && break
	done
	echo "$k -> $to"
done
echo "@@ modules"; ls /usr/lib/*/samba/vfs | sed -n 's/^\(.*\)\.so$/vfs\/\1/p'
