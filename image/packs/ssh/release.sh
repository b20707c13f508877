# Writes settings that not every release's sshd knows: release.sh RELEASE "ADDRESSES". The servers of the site try a wrong password every few
# seconds, to see it refused; from Debian 13 on sshd would shut them out for that.
set -eu
list=$(echo $2 | tr ' ' ,)
if [ "$1" -ge 13 ] && [ -n "$list" ]; then
	echo "PerSourcePenaltyExemptList $list" >/run/atlas/ssh/release.conf.new
else
	: >/run/atlas/ssh/release.conf.new
fi
mv /run/atlas/ssh/release.conf.new /run/atlas/ssh/release.conf
