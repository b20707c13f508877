echo "@@ version"; dovecot --version
echo "@@ listing"; doveconf -d -c /dev/null 2>/dev/null
echo "@@ modules"; (cd /usr/lib/dovecot/modules && find . -name '*.so' | sed 's/^\.\///; s/\.so$//'); ls /usr/libexec/dovecot /usr/lib/dovecot 2>/dev/null | grep -v : | grep -vE '\.so' | sed -n 's/^\([a-z].*\)/program\/\1/p'
