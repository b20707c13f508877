echo "@@ version"; slapd -VV 2>&1
echo "@@ static"; slapd -VVV 2>&1
echo "@@ modules"; ls /usr/lib/ldap | sed -n 's/\.so$//p'; ls /etc/ldap/schema | sed -n 's/\.\(schema\|ldif\)$/ &/p' | sed 's/ \.[a-z]*$//; s/^/schema\//' | sort -u
