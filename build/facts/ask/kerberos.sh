# Which encryption types the libraries are willing to make a key of, in a realm that is thrown away.
export KRB5_CONFIG=/tmp/krb5.conf KRB5_KDC_PROFILE=/tmp/kdc.conf
printf '[libdefaults]\ndefault_realm = A\n' >/tmp/krb5.conf
printf '[realms]\nA = {\ndatabase_name = /tmp/principal\nkey_stash_file = /tmp/stash\nacl_file = /tmp/acl\n}\n' >/tmp/kdc.conf
echo "@@ version"; klist -V
kdb5_util create -s -P x -r A >/tmp/said 2>&1 || cat /tmp/said >&2
echo "@@ probe"
for e in des-cbc-crc des-cbc-md4 des-cbc-md5 des3-cbc-sha1 arcfour-hmac arcfour-hmac-exp aes128-cts-hmac-sha1-96 aes256-cts-hmac-sha1-96 \
	aes128-cts-hmac-sha256-128 aes256-cts-hmac-sha384-192 camellia128-cts-cmac camellia256-cts-cmac; do
	kadmin.local -r A addprinc -pw x -e "$e:normal" "p-$e" >/dev/null 2>&1
	kadmin.local -r A getprinc "p-$e" 2>/dev/null | sed -n "s/^Key: vno [0-9]*, DEPRECATED:$e\$/$e deprecated/p; s/^Key: vno [0-9]*, $e\$/$e/p"
done
echo "@@ modules"; (cd /usr/lib/*/krb5/plugins && find . -name '*.so' | sed 's/^\.\///; s/\.so$//')
