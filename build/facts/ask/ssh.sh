# sshd: its listing with nothing set, then every word of the program that could be a keyword and is not in the listing: what does it say to it?
mkdir -p /run/sshd
ssh-keygen -q -N '' -t ed25519 -f /tmp/key
ask() { sshd -T -f /dev/null -h /tmp/key "$@" 2>&1; }
echo "@@ version"; ssh -V 2>&1
echo "@@ listing"; ask | tee /tmp/base
echo "@@ probe"
# One file of all words: sshd tells every one that it does not know and goes on, and stops at one that it knows and that has no such
# value; then it is asked again without that one. The linker may have stored a name as the end of a longer one: so all ends as well.
sed 's/ .*//' /tmp/base | sort -u >/tmp/listed
cat /usr/sbin/sshd /usr/lib/openssh/sshd-session 2>/dev/null | tr '\000' '\n' | grep -axE '[a-z][a-z0-9]{2,40}' |
	awk '{ for (i = 1; i <= length($0) - 2; i++) print substr($0, i) }' | sort -u | grep -vxE 'match|include' |
	grep -vxFf /tmp/listed | sed 's/$/ yes/' >/tmp/left
: >/tmp/known
for n in $(seq 200); do
	sshd -t -f /tmp/left -h /tmp/key >/tmp/said 2>&1
	sed -n 's/.*Bad configuration option: \([a-z0-9]*\).*/\1 yes/p' /tmp/said >/tmp/bad
	stop=$(tail -n 1 /tmp/said | grep -v terminating | sed -n 's/.*line \([0-9]*\): .*/\1/p')
	[ -n "$stop" ] && sed -n "${stop}s/ yes//p" /tmp/left >>/tmp/known && sed -i "${stop}d" /tmp/left
	grep -vxFf /tmp/bad /tmp/left >/tmp/next
	mv /tmp/next /tmp/left
	[ -n "$stop" ] || break
done
sed 's/ yes//' /tmp/left >>/tmp/known
sort -u /tmp/known | while read -r k; do
	said=known
	for v in no yes 7 ssh-ed25519 /tmp/x; do
		ask -o "$k=$v" >/tmp/now
		if grep -qE 'Deprecated|Unsupported|no longer supported' /tmp/now; then said=ignored; break; fi
		to=$(diff /tmp/base /tmp/now | sed -n 's/^> \([a-z0-9]*\) .*/\1/p' | head -n 1)
		if grep -qx "$to" /tmp/listed; then said="alias $to"; break; fi
	done
	echo "$k $said"
done
