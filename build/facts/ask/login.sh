echo "@@ version"; dpkg-query -W -f '${Version}\n' login
echo "@@ listing"; cat /etc/login.defs
