# Lets udev look at all that is there already. A device that takes long does not hold up the start: it is told and left to itself.
set -eu
udevadm trigger --type=subsystems --action=add
udevadm trigger --type=devices --action=add
udevadm settle --timeout=120 || echo "hardware: some devices are still being looked at after two minutes; udevadm monitor shows them"
