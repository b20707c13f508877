echo "@@ version"; postconf -dh mail_version
echo "@@ listing"; postconf -d 2>/dev/null
echo "@@ master"; cp -r /usr/share/postfix /tmp/stock; [ -f /tmp/stock/master.cf.dist ] || cp /etc/postfix/master.cf /tmp/stock/master.cf.dist
cp /tmp/stock/master.cf.dist /tmp/stock/master.cf; : >/tmp/stock/main.cf; postconf -c /tmp/stock -M 2>/dev/null
echo "@@ modules"; postconf -m 2>/dev/null | sed 's/^/map\//'
