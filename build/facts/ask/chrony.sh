# Every word of the program that could be a directive: does it know it? The linker may have stored short words as the end of longer ones.
echo "@@ version"; chronyd -v
echo "@@ probe"
{
	tr '\000' '\n' </usr/sbin/chronyd | grep -axE '[a-z][a-z0-9_]{2,24}'
	printf '%s\n' allow clientloglimit deny driftfile dumpdir key keyfile keys local log logdir manual peer pidfile pool port ratelimit refclock refresh rtcfile server smoothtime user
} | sort -u | while read -r w; do
	echo "$w" >/tmp/one.conf
	chronyd -p -f /tmp/one.conf 2>&1 | grep -q 'Invalid directive' || echo "$w"
done
