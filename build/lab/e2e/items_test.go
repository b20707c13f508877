package e2e

import (
	"fmt"
	"strings"
	"time"
)

func webItems() []item {
	page := "prices of " + password
	return []item{
		{
			"apache", "page by IPv4, IPv6 and TLS",
			func(b *business) error {
				_, err := b.root("echo '" + page + "' >/srv/www/prices.txt")
				return err
			},
			func(b *business) error {
				return first(
					func() error { return b.says(page, "curl -sSf -m 20 http://10.7.0.10/prices.txt") },
					func() error { return b.says(page, "curl -sSf -m 20 -g 'http://[fd07::10]/prices.txt'") },
					func() error {
						return b.says(page, "curl -sSf -m 20 -4 --cacert /tmp/site.crt https://office.office.example/prices.txt")
					},
					func() error {
						return b.says(page, "curl -sSf -m 20 -6 --cacert /tmp/site.crt https://office.office.example/prices.txt")
					},
				)
			},
		},
		{
			"apache", "virtual host with .htaccess and PHP",
			func(b *business) error {
				_, err := b.root(`set -e; mkdir -p /srv/www-shop
echo '<?php echo "shop has ", 6*7, " things";' >/srv/www-shop/index.php
echo secret >/srv/www-shop/hidden.txt; printf '<Files hidden.txt>\nRequire all denied\n</Files>\n' >/srv/www-shop/.htaccess
cat >/etc/apache2/sites-available/shop.conf <<X
<VirtualHost *:80>
ServerName shop.office.example
DocumentRoot /srv/www-shop
<Directory /srv/www-shop>
AllowOverride All
Require all granted
</Directory>
</VirtualHost>
X
a2ensite -q shop; apache2ctl configtest; apache2ctl graceful`)
				return err
			},
			func(b *business) error {
				return first(
					func() error {
						return within(20*time.Second, func() error {
							return b.says("shop has 42 things", "curl -sSf -m 20 -H 'Host: shop.office.example' http://10.7.0.10/")
						})
					},
					func() error {
						return b.refused("curl -sSf -m 20 -H 'Host: shop.office.example' http://10.7.0.10/hidden.txt")
					},
				)
			},
		},
		{
			"notes", "note",
			func(b *business) error {
				_, err := b.pc("curl -sSf -m 30 -o /dev/null --data-urlencode 'text=note " + password + "' http://10.7.0.10/notes/")
				return err
			},
			func(b *business) error {
				return b.says("note "+password, "curl -sSf -m 30 'http://10.7.0.10/notes/?format=text'")
			},
		},
	}
}

func databaseItems() []item {
	maria := "MYSQL_PWD=" + password + " mariadb -h office.office.example -u shop --ssl --ssl-ca=/tmp/site.crt shop -N -e "
	pg := "PGPASSWORD=" + password + " psql -AtX 'host=office.office.example user=shop dbname=shop connect_timeout=10 sslmode=verify-full sslrootcert=/tmp/site.crt' -c "
	return []item{
		{
			"mariadb", "rows, by TLS",
			func(b *business) error {
				return first(
					b.doRoot("mariadb -e \"CREATE DATABASE IF NOT EXISTS shop; CREATE USER IF NOT EXISTS 'shop'@'%' IDENTIFIED BY '"+password+"' REQUIRE SSL; GRANT ALL ON shop.* TO 'shop'@'%'\""),
					b.doPC(maria+"\"CREATE TABLE IF NOT EXISTS goods (name VARCHAR(40) PRIMARY KEY); REPLACE INTO goods VALUES ('anvil')\""),
				)
			},
			func(b *business) error {
				return first(
					func() error {
						return b.says("anvil TLS", maria+"\"SELECT CONCAT(name, ' ', (SELECT IF(variable_value='', 'plain', 'TLS') FROM information_schema.session_status WHERE variable_name='Ssl_cipher')) FROM goods\"")
					},
					func() error {
						return b.refused("MYSQL_PWD=wrong mariadb -h office.office.example -u shop --ssl-ca=/tmp/site.crt shop -e 'SELECT 1'")
					},
				)
			},
		},
		{
			"postgresql", "role and rows, by TLS",
			func(b *business) error {
				return first(
					b.doRoot(`cd /; runuser -u postgres -- psql -Atqc "SELECT 1 FROM pg_roles WHERE rolname='shop'" | grep -q 1 || runuser -u postgres -- psql -qc "CREATE ROLE shop LOGIN PASSWORD '`+password+`'"
runuser -u postgres -- psql -Atqc "SELECT 1 FROM pg_database WHERE datname='shop'" | grep -q 1 || runuser -u postgres -- createdb -O shop shop`),
					b.doPC(pg+"\"CREATE TABLE IF NOT EXISTS goods (name text PRIMARY KEY); INSERT INTO goods VALUES ('hammer') ON CONFLICT DO NOTHING\""),
				)
			},
			func(b *business) error {
				return first(
					func() error { return b.says("hammer", pg+"'SELECT name FROM goods'") },
					func() error {
						return b.refused("PGPASSWORD=" + password + " psql -AtX 'host=10.7.0.10 user=shop dbname=shop connect_timeout=10 sslmode=disable' -c 'SELECT 1'")
					},
					func() error {
						return b.refused("PGPASSWORD=wrong psql -AtX 'host=10.7.0.10 user=shop dbname=shop connect_timeout=10 sslmode=require' -c 'SELECT 1'")
					},
				)
			},
		},
	}
}

func fileItems() []item {
	return []item{
		{
			"samba", "Linux account with a share's password",
			func(b *business) error {
				_, err := b.root("set -e; id anna >/dev/null 2>&1 || useradd -m -s /bin/bash -G users -c 'Anna Miller' anna; echo 'anna:" + password + "' | chpasswd; printf '" + password + "\\n" + password + "\\n' | smbpasswd -s -a anna; sync")
				return err
			},
			func(b *business) error {
				return first(
					func() error { return b.has("Anna Miller:/home/anna:/bin/bash", "getent passwd anna; ls -d /home/anna") },
					b.doPC("smbclient //10.7.0.10/office -U 'anna%"+password+"' -c ls"),
					func() error { return b.refused("smbclient //10.7.0.10/office -U anna%wrong -c ls") },
				)
			},
		},
		{
			"samba", "file with ACL and attribute on a share",
			func(b *business) error {
				return first(
					b.doPC("echo 'plan 9' >/tmp/plan.txt; smbclient //office.office.example/office -U 'anna%"+password+"' -c 'put /tmp/plan.txt plan.txt'"),
					b.doRoot("set -e; setfacl -m u:anna:rw,g:adm:r /srv/office/plan.txt; setfattr -n user.origin -v paper /srv/office/plan.txt; chown anna /srv/office/plan.txt; sync"),
				)
			},
			func(b *business) error {
				return first(
					func() error {
						return b.says("plan 9", "smbclient //10.7.0.10/office -U 'anna%"+password+"' -c 'get plan.txt /tmp/plan.got' && cat /tmp/plan.got; rm -f /tmp/plan.got")
					},
					func() error { return b.has("user:anna:rw-", "getfacl -p /srv/office/plan.txt") },
					func() error { return b.has("group:adm:r--", "getfacl -p /srv/office/plan.txt") },
					func() error {
						return b.has(`user.origin="paper"`, "getfattr -d -m - --absolute-names /srv/office/plan.txt")
					},
					func() error { return b.has("anna", "stat -c %U /srv/office/plan.txt") },
				)
			},
		},
		{
			"nfs", "file written by a kernel's client, v3 and v4.2",
			func(b *business) error {
				// The export squashes the client's root, as exports do.
				if _, err := b.root("install -d -m 1777 /srv/nfs/e2e"); err != nil {
					return err
				}
				_, err := b.kernel(mountNFS + `
for v in v3 v4; do
	dd if=/dev/urandom of=/mnt/$v/e2e/from-$v bs=64k count=16 conv=fsync 2>/dev/null
	sha256sum </mnt/$v/e2e/from-$v >/mnt/$v/e2e/from-$v.sum
	sync /mnt/$v/e2e/from-$v.sum
done
flock -x -w 20 /mnt/v4/e2e/from-v4 true; echo locked
umount /mnt/v3 /mnt/v4`)
				return err
			},
			func(b *business) error {
				out, err := b.kernel(mountNFS + `
for v in v3 v4; do
	for o in v3 v4; do sha256sum </mnt/$v/e2e/from-$o | cmp - /mnt/$v/e2e/from-$o.sum && echo "$v reads what $o wrote"; done
done
umount /mnt/v3 /mnt/v4`)
				for _, want := range []string{"v3 reads what v4 wrote", "v4 reads what v3 wrote", "v4 reads what v4 wrote"} {
					if err == nil {
						err = contains("NFS", out, want, nil)
					}
				}
				return err
			},
		},
	}
}

// mountNFS mounts the export twice. Locks of v3 need a daemon on the client, those of v4 do not.
const mountNFS = `set -e
mount -t nfs -o vers=3,nolock,soft,timeo=100,tcp,mountproto=tcp 10.7.0.10:/srv/nfs /mnt/v3
mount -t nfs -o vers=4.2,soft,timeo=100 10.7.0.10:/srv/nfs /mnt/v4
`

func peopleItems() []item {
	base := "dc=office,dc=example"
	ldap := "ldap://office.office.example"
	return []item{
		{
			"openldap", "entry, added and read by TLS",
			func(b *business) error {
				_, err := b.pc("ldapsearch -LLL -ZZ -x -H " + ldap + " -D cn=admin," + base + " -w '" + b.admin + "' -b " + base + " uid=bert dn | grep -q uid=bert || printf '%s\\n' 'dn: uid=bert,ou=people," + base +
					"' 'objectClass: inetOrgPerson' 'uid: bert' 'cn: Bert Miller' 'sn: Miller' 'mail: bert@office.example' 'userPassword: " + password + "' | ldapadd -ZZ -x -H " + ldap + " -D cn=admin," + base + " -w '" + b.admin + "'")
				return err
			},
			func(b *business) error {
				search := "ldapsearch -LLL -ZZ -x -H " + ldap + " -D uid=bert,ou=people," + base + " -w %s -b " + base + " uid=bert mail"
				return first(
					func() error { return b.says("mail: bert@office.example", fmt.Sprintf(search, password)) },
					func() error { return b.refused(fmt.Sprintf(search, "wrong")) },
				)
			},
		},
		{
			"kerberos", "principal, logging in, with a service's ticket",
			func(b *business) error {
				_, err := b.root("kadmin.local -q 'getprinc carol' 2>/dev/null | grep -q '^Principal: carol' || kadmin.local -q 'addprinc -pw " + password + " carol'")
				return err
			},
			func(b *business) error {
				return first(
					func() error {
						return b.says("krbtgt/OFFICE.EXAMPLE", "echo "+password+" | kinit -c /tmp/carol.cc carol@OFFICE.EXAMPLE >/dev/null && kvno -c /tmp/carol.cc host/office.office.example && klist -c /tmp/carol.cc")
					},
					func() error { return b.refused("echo wrong | kinit -c /tmp/none.cc carol@OFFICE.EXAMPLE") },
				)
			},
		},
	}
}

func mailItems() []item {
	subject := "offer-" + strings.ToLower(password)
	send := "swaks --silent 2 --timeout 40 --server office.office.example --ehlo client.office.example --tls-ca-path /tmp/site.crt --from anna@office.example "
	return []item{
		{
			"postfix", "mail sent after STARTTLS and login",
			func(b *business) error {
				return first(
					b.doPC(send+"--port 587 --tls --auth PLAIN --auth-user anna --auth-password "+password+" --to anna@office.example --header 'Subject: "+subject+"' --body 'best price'"),
					// From elsewhere, as other mail servers do; and nobody is a relay for strangers.
					b.doPC(send+"--port 25 --to anna@office.example --header 'Subject: in-"+subject+"' --body 'from outside'"),
					func() error { return b.refused(send + "--port 25 --to someone@elsewhere.example --body relay") },
					func() error {
						return b.refused(send + "--port 587 --tls --auth PLAIN --auth-user anna --auth-password wrong --to anna@office.example")
					},
				)
			},
			func(b *business) error {
				return within(40*time.Second, func() error {
					for _, want := range []string{subject, "in-" + subject} {
						if err := b.has(want, "grep -rhIs '^Subject: ' /home/anna/Maildir /var/mail || true"); err != nil {
							return err
						}
					}
					return nil
				})
			},
		},
		{
			"dovecot", "mail read by IMAP",
			nil,
			func(b *business) error {
				rc := strings.Join([]string{
					"IMAPAccount office", "Host office.office.example", "User anna", "Pass " + password, "TLSType IMAPS", "CertificateFile /tmp/site.crt", "AuthMechs PLAIN LOGIN", "",
					"IMAPStore far", "Account office", "", "MaildirStore near", "Path /tmp/home/mail/", "Inbox /tmp/home/mail/INBOX", "", "Channel all", "Far :far:", "Near :near:", "Patterns INBOX", "Create Near", "Sync Pull", "SyncState *", "",
				}, "\n")
				return first(
					func() error {
						return within(30*time.Second, func() error {
							return b.says("Subject: "+subject, "rm -rf /tmp/home/mail && mkdir -p /tmp/home/mail && cat >/tmp/home/mbsyncrc <<'X'\n"+rc+"X\nmbsync -q -c /tmp/home/mbsyncrc all && grep -rh '^Subject' /tmp/home/mail")
						})
					},
					func() error {
						return b.says("* SEARCH ", "curl -sS -m 30 --cacert /tmp/site.crt -u anna:"+password+" -X 'SEARCH SUBJECT "+subject+"' imaps://office.office.example/INBOX")
					},
					func() error {
						return b.refused("curl -sS -m 30 --cacert /tmp/site.crt -u anna:wrong imaps://office.office.example/INBOX")
					},
				)
			},
		},
	}
}
