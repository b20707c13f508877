# Writes a sample configuration with a UPS that dummy-ups plays: on line, full, until somebody edits /etc/nut/office.dev.
set -eu
if grep -q '^[[:space:]]*\[' /etc/nut/ups.conf; then
	echo "nut: /etc/nut/ups.conf names a UPS already; nothing is changed" >&2
	exit 1
fi
umask 027
password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
cat >/etc/nut/office.dev <<END
ups.status: OL
ups.mfr: ATLAS
ups.model: sample
battery.charge: 100
battery.runtime: 3600
END
cat >>/etc/nut/ups.conf <<END
[office]
	driver = dummy-ups
	port = office.dev
	desc = "Sample"
END
cat >>/etc/nut/upsd.users <<END
[upsmon]
	password = $password
	upsmon primary
END
cat >>/etc/nut/upsmon.conf <<END
MONITOR office@localhost 1 upsmon $password primary
END
chgrp nut /etc/nut/office.dev
sync
