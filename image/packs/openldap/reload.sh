# Lets slapd read the certificate again, after a renewal; everything else in cn=config works as soon as it is changed. To name the
# files again is how one asks for that.
set -eu
ldapmodify -Q -Y EXTERNAL -H ldapi:/// >/dev/null <<END
dn: cn=config
changetype: modify
replace: olcTLSCertificateFile
olcTLSCertificateFile: /etc/ssl/atlas/site.crt
-
replace: olcTLSCertificateKeyFile
olcTLSCertificateKeyFile: /etc/ssl/atlas/site.key
END
