# Has Dovecot read its configuration; it tells the first mistake only.
exec doveconf -n >/dev/null
