# Makes the server's host key in the directory $1, moved into place when it is complete.
set -eu
umask 077
mkdir -p "$1"
rm -f "$1/new" "$1/new.pub"
ssh-keygen -q -t ed25519 -N '' -C '' -f "$1/new"
sync "$1/new" "$1/new.pub"
mv "$1/new.pub" "$1/ssh_host_ed25519_key.pub"
mv "$1/new" "$1/ssh_host_ed25519_key"
sync "$1"
