package effective_test

// cases: with no edit a pack is as it is shipped. from 0: both ways. plant is done on the other side after conversion.
var cases = []struct {
	name, pack  string
	from        int
	edit, plant string
	want        []string
}{
	{name: "samba", pack: "samba"},
	{name: "samba-office", pack: "samba", edit: sambaOffice},
	{name: "samba-12-words", pack: "samba", from: 12, edit: sambaOffice + `
sed -i 's/^\[office\]/\tclient use spnego principal = yes\n\tdirectory name cache size = 50\n[office]/' /etc/samba/smb.conf`},
	{
		name: "samba-planted", pack: "samba", edit: sambaOffice,
		plant: `sed -i 's/guest ok = no/guest ok = yes/; /hosts allow/d; s/exe/com/' /etc/samba/smb.conf`,
		want:  []string{"guard [public] guest ok", "guard [public] hosts allow", "[public] veto files"},
	},

	{name: "ssh", pack: "ssh"},
	{
		name: "ssh-planted", pack: "ssh", plant: `sed -i 's/PermitRootLogin yes/PermitRootLogin no/; s/MaxAuthTries 4/MaxAuthTries 9/' /run/atlas/ssh/sshd_config`,
		want: []string{"maxauthtries", "guard permitrootlogin"},
	},

	{name: "postfix", pack: "postfix"},
	{name: "postfix-office", pack: "postfix", edit: postfixOffice},
	{
		name: "postfix-planted", pack: "postfix", edit: postfixOffice,
		plant: `postconf -e 'mynetworks = 0.0.0.0/0' message_size_limit=1000; postconf -P submission/inet/smtpd_relay_restrictions=permit`,
		want:  []string{"guard master/submission/inet/smtpd_relay_restrictions", "message_size_limit", "guard mynetworks"},
	},

	{name: "dovecot", pack: "dovecot"},
	{name: "dovecot-office", pack: "dovecot", from: 12, edit: dovecotOffice},
	{name: "dovecot-mdbox", pack: "dovecot", from: 12, edit: `cat >>/etc/dovecot/local.conf <<END
mail_location = mdbox:~/mdbox
disable_plaintext_auth = no
auth_username_format = %n
ssl_min_protocol = TLSv1.2
protocols = imap lmtp
protocol imap {
	mail_max_userip_connections = 30
}
passdb {
	driver = passwd-file
	args = scheme=CRYPT /etc/dovecot/users
}
END
touch /etc/dovecot/users`},
	{name: "dovecot-13-words", pack: "dovecot", from: 13, edit: `cat >>/etc/dovecot/local.conf <<END
mail_driver = mdbox
mail_path = ~/mdbox
mail_inbox_path =
auth_allow_cleartext = yes
auth_username_format = %{user | username}
auth_mechanisms = plain login
END`},
	{
		name: "dovecot-planted", pack: "dovecot", from: 12, edit: dovecotOffice,
		plant: `sed -i '/auth_username_format/d; s/auth_allow_cleartext.*//' /etc/dovecot/local.conf; printf 'auth_allow_cleartext = yes\nauth_username_format = %%{user}\n' >>/etc/dovecot/local.conf`,
		want:  []string{"guard auth_username_format", "guard disable_plaintext_auth"},
	},

	{name: "mariadb", pack: "mariadb"},
	{name: "mariadb-office", pack: "mariadb", edit: mariadbOffice},
	{name: "mariadb-12-words", pack: "mariadb", from: 12, edit: mariadbOffice + `
printf 'innodb_change_buffering = none\ninnodb_defragment = on\nold_alter_table = 0\n' >>/etc/mysql/mariadb.conf.d/90-office.cnf`},
	{
		name: "mariadb-planted", pack: "mariadb", edit: mariadbOffice,
		plant: `sed -i 's/^sql_mode.*//; s/^local_infile.*/local_infile = 1/' /etc/mysql/mariadb.conf.d/90-office.cnf`,
		want:  []string{"guard local_infile", "sql_mode"},
	},

	{name: "postgresql", pack: "postgresql"},
	{name: "postgresql-office", pack: "postgresql", edit: postgresqlOffice},
	{name: "postgresql-12-words", pack: "postgresql", from: 12, edit: postgresqlOffice + `
printf "old_snapshot_threshold = 60\n" >>/etc/postgresql/15/main/conf.d/50-office.conf`},
	{
		name: "postgresql-planted", pack: "postgresql", edit: postgresqlOffice,
		plant: `sed -i 's/scram-sha-256/trust/' /etc/postgresql/*/main/pg_hba.conf; sed -i 's/^work_mem.*/work_mem = 1MB/' /etc/postgresql/*/main/conf.d/50-office.conf`,
		want:  []string{"guard pg_hba", "work_mem"},
	},

	{name: "apache", pack: "apache"},
	{name: "apache-office", pack: "apache", edit: apacheOffice},
	{
		name: "apache-planted", pack: "apache", edit: apacheOffice,
		plant: `sed -i 's/Require ip .*/Require all granted/' /etc/apache2/conf-available/office.conf; sed -i 's/^memory_limit.*/memory_limit = 8M/' /etc/php/*/apache2/php.ini`,
		want:  []string{"guard conf/<Directory /srv/www/intern> Require", "php/memory_limit"},
	},

	{name: "nfs", pack: "nfs"},
	{
		name: "nfs-planted", pack: "nfs", edit: nfsOffice, plant: `sed -i 's/ro,root_squash/rw,no_root_squash/' /etc/exports; sed -i 's/threads=.*/threads=1/' /etc/nfs.conf.d/local.conf`,
		want: []string{"guard export /srv/nfs", "nfsd/threads"},
	},
	{name: "nfs-office", pack: "nfs", edit: nfsOffice},
	{name: "chrony", pack: "chrony"},
	{name: "chrony-office", pack: "chrony", edit: chronyOffice},
	{
		name: "chrony-planted", pack: "chrony", edit: chronyOffice, plant: `sed -i 's/^allow.*/allow 0.0.0.0\/0/' /etc/chrony/chrony.conf`,
		want: []string{"guard allow 0.0.0.0/0", "guard allow 10.7.0.0/24"},
	},
	{name: "openldap", pack: "openldap"},
	{
		name: "openldap-planted", pack: "openldap",
		plant: `printf 'dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\nreplace: olcAccess\nolcAccess: {0}to * by * write\n' | slapmodify -n 0 -F /etc/ldap/slapd.d`,
		want:  []string{"guard olcDatabase={1}mdb/olcAccess"},
	},
}

// What offices write.
const (
	sambaOffice = `cat >>/etc/samba/smb.conf <<END
[public]
	path = /srv/office
	guest ok = no
	hosts allow = 10.7.0.
	read only = yes
	veto files = /*.exe/
END
sed -i 's/^\[office\]/\tlog level = 2\n\tunix extensions = no\n[office]/' /etc/samba/smb.conf`

	postfixOffice = `postconf -e 'mynetworks = 127.0.0.0/8 10.7.0.0/24' message_size_limit=20000000 'relayhost = [mail.example.net]:587' 'smtp_tls_mandatory_protocols = !SSLv2, !SSLv3'`

	dovecotOffice = `cat >>/etc/dovecot/local.conf <<END
disable_plaintext_auth = yes
auth_username_format = %Ln
auth_mechanisms = plain login
first_valid_uid = 500
END`

	mariadbOffice = `cat >/etc/mysql/mariadb.conf.d/90-office.cnf <<END
[mysqld]
max_connections = 300
sql_mode = STRICT_TRANS_TABLES,NO_ZERO_DATE
innodb_buffer_pool_size = 256M
local_infile = 0
slow_query_log
long_query_time = 2
END`

	postgresqlOffice = `conf=$(echo /etc/postgresql/*/main)
cat >$conf/conf.d/50-office.conf <<END
max_connections = 150
work_mem = 8MB
timezone = 'Europe/Berlin'
log_min_duration_statement = 500
END
chown postgres $conf/conf.d/50-office.conf
echo 'hostssl sales all 10.7.0.0/24 scram-sha-256' >>$conf/pg_hba.conf`

	nfsOffice = `printf '/srv/nfs 10.7.0.0/24(ro,root_squash,no_subtree_check) \\\n\t10.8.0.0/24(ro,root_squash)\n' >>/etc/exports
printf '[nfsd]\nthreads=16\n' >/etc/nfs.conf.d/local.conf`

	chronyOffice = `printf 'server time.example.net iburst\nallow 10.7.0.0/24\n' >>/etc/chrony/chrony.conf`

	apacheOffice = `cat >/etc/apache2/conf-available/office.conf <<END
Alias /intern /srv/www/intern
<Directory /srv/www/intern>
	Require ip 10.7.0.0/24
	AllowOverride AuthConfig
</Directory>
END
mkdir -p /srv/www/intern; a2enconf -q office
sed -i 's/^memory_limit.*/memory_limit = 512M/; s/^upload_max_filesize.*/upload_max_filesize = 64M/' /etc/php/*/apache2/php.ini`
)
