package e2e

import "sayasystems.com/atlas/sentry/sync/state"

// habit is one of the usual ways in which an administrator changes a server.
type habit struct {
	name   string
	before string // what is made ready on the primary before all habits
	do     string // by ssh from the client: as root, or as admin where by says so
	by     string // "admin": by password, with sudo; "client": not by ssh, but on the client itself
	who    state.Who
	paths  []state.Path // among what the commit names
	live   string       // succeeds on a server that has the change, and only there
	after  string       // what is cleared away on the primary after all habits
}

// root is somebody who logged in as root from the client, and ran program.
func root(program string) state.Who {
	return state.Who{Program: program, User: "root", From: "10.7.0.100"}
}

func habits() []habit {
	pg := "cd /; runuser -u postgres -- "
	return []habit{
		{
			name: "an editor", do: `TERM=xterm nano /etc/etest.conf`, by: "keys", who: root("nano"), paths: []state.Path{"etc/etest.conf"},
			live: `[ "$(cat /etc/etest.conf)" = "typed by hand" ]`,
		},
		{
			name: "sed by sudo", before: "echo old >/etc/etest-sed.conf", do: "sed -i s/old/new/ /etc/etest-sed.conf", by: "admin",
			who: state.Who{Program: "sed", User: "root", Login: "admin", From: "10.7.0.100"}, paths: []state.Path{"etc/etest-sed.conf"},
			live: "grep -q new /etc/etest-sed.conf", after: "rm /etc/etest-sed.conf",
		},
		{
			name: "useradd and passwd", do: "useradd -m -c 'Erna Test' erna && echo erna:Etest-4711 | chpasswd", who: root("useradd"),
			paths: []state.Path{"etc/group", "etc/gshadow", "etc/passwd", "etc/shadow"},
			live:  `getent passwd erna >/dev/null && grep -q '^erna:\$' /etc/shadow`, after: "rm -rf /home/erna",
		},
		{
			name: "smbpasswd", before: "id esmb >/dev/null 2>&1 || useradd esmb", do: `printf 'Etest-1\nEtest-1\n' | smbpasswd -s -a esmb`,
			who: root("smbpasswd"), paths: []state.Path{"@db/samba/users"}, live: "pdbedit -u esmb >/dev/null", after: "userdel esmb",
		},
		{
			name: "a2ensite", do: `printf '<VirtualHost *:80>\nServerName etest.office.example\nRedirect / /etest-site\n</VirtualHost>\n' >/etc/apache2/sites-available/etest.conf
a2ensite -q etest && apachectl graceful`, who: root("bash"), paths: []state.Path{"etc/apache2/sites-available/etest.conf", "etc/apache2/sites-enabled/etest.conf"},
			live: etestSite,
		},
		{
			name: "a2dissite", before: "printf '<VirtualHost *:80>\nServerName etest-old.office.example\n</VirtualHost>\n' >/etc/apache2/sites-available/etest-old.conf; a2ensite -q etest-old",
			do: "a2dissite -q etest-old && apachectl graceful", who: root("a2dissite"), paths: []state.Path{"etc/apache2/sites-enabled/etest-old.conf"},
			live: "[ ! -L /etc/apache2/sites-enabled/etest-old.conf ]", after: "a2dissite -q etest-old; rm -f /etc/apache2/sites-available/etest-old.conf; apachectl graceful",
		},
		{
			name: "a package's script", do: `set -e; mkdir -p /etc/etest-pkg/conf.d
for i in 1 2 3; do echo "value = $i" >/etc/etest-pkg/$i.conf.dpkg-new; mv /etc/etest-pkg/$i.conf.dpkg-new /etc/etest-pkg/$i.conf; done
ln -s ../1.conf /etc/etest-pkg/conf.d/1.conf; chown -R root:adm /etc/etest-pkg; chmod 640 /etc/etest-pkg/2.conf`, who: root("mkdir"),
			paths: []state.Path{"etc/etest-pkg/1.conf", "etc/etest-pkg/2.conf", "etc/etest-pkg/3.conf", "etc/etest-pkg/conf.d/1.conf"},
			live:  `[ "$(stat -c %U:%G:%a /etc/etest-pkg/2.conf)" = root:adm:640 ] && [ "$(cat /etc/etest-pkg/conf.d/1.conf)" = "value = 1" ]`,
		},
		{
			name: "mv of a tree", before: "d=/etc/etest-tree; " + etestTree, do: "mv /etc/etest-tree /etc/etest-moved", who: root("mv"),
			paths: []state.Path{"etc/etest-moved/a/b/two", "etc/etest-moved/one", "etc/etest-tree/a/b/two", "etc/etest-tree/one"},
			live:  "[ -e /etc/etest-moved/a/b/two ] && [ -d /etc/etest-moved/empty ] && [ ! -e /etc/etest-tree ]", after: "rm -r /etc/etest-tree",
		},
		{
			name: "rm -r", before: "d=/etc/etest-rm; " + etestTree, do: "rm -r /etc/etest-rm", who: root("rm"), paths: []state.Path{"etc/etest-rm/a/b/two", "etc/etest-rm/one"},
			live: "[ ! -e /etc/etest-rm ]", after: "rm -r /etc/etest-rm",
		},
		{
			name: "ldapmodify on cn=config", do: `ldapmodify -Q -Y EXTERNAL -H ldapi:/// <<'X'
dn: olcDatabase={1}mdb,cn=config
changetype: modify
add: olcDbIndex
olcDbIndex: employeeNumber eq
X`, who: root("ldapmodify"), paths: []state.Path{"@db/openldap/config.ldif"},
			live: "ldapsearch -LLL -Q -Y EXTERNAL -H ldapi:/// -b 'olcDatabase={1}mdb,cn=config' -s base olcDbIndex | grep -q employeeNumber",
		},
		{
			name: "createuser", do: pg + `createuser -d esync && runuser -u postgres -- psql -qc 'GRANT pg_monitor TO esync'`, who: state.Who{Program: "createuser", User: "postgres", Login: "root", From: "10.7.0.100"},
			paths: []state.Path{"@db/postgresql/roles.sql"}, live: pg + `psql -Atc "SELECT pg_has_role(oid, 'pg_monitor', 'member') AND rolcreatedb FROM pg_roles WHERE rolname = 'esync'" | grep -qx t`,
		},
		{
			name: "CREATE USER", do: `mariadb -e "CREATE USER 'esync'@'%' IDENTIFIED BY 'Etest-1'; GRANT SELECT ON notes.* TO 'esync'@'%'"`, who: root("mariadb"),
			paths: []state.Path{"@db/mariadb/users.sql"}, live: `mariadb -Ne "SHOW GRANTS FOR 'esync'@'%'" 2>/dev/null | grep -q 'SELECT ON .notes'`,
		},
		{
			name: "group policy", do: `KRB5_CONFIG=/var/lib/samba-ad/private/krb5.conf samba-tool gpo create esync -s /etc/samba/addc.conf -U "Administrator%$(cat /etc/atlas/addc-admin.secret)" \
-H "ldap://$(sed -n 's/^interfaces = //p' /etc/samba/addc-address.conf)"`, who: root("samba-tool"), paths: []state.Path{"@db/addc/policies"},
			live: `g=$(ldbsearch -H /var/lib/samba-ad/private/sam.ldb '(displayName=esync)' cn | sed -n 's/^cn: //p'); [ -n "$g" ] && [ -f "/var/lib/samba-ad/state/sysvol/ad.office.example/Policies/$g/GPT.INI" ]`,
		},
		{
			name: "password rules of the domain", do: "samba-tool domain passwordsettings set --min-pwd-length=11 -s /etc/samba/addc.conf",
			who: root("samba-tool"), paths: []state.Path{"@db/addc/policies"},
			live: "samba-tool domain passwordsettings show -s /etc/samba/addc.conf | grep -q 'Minimum password length: 11'",
		},
		{
			name: "kadmin addprinc", do: "kadmin.local addprinc -pw Etest-1 esync", who: root("kadmin.local"), paths: []state.Path{"@db/kerberos/realm.dump"},
			live: "kadmin.local listprincs | grep -q ^esync@",
		},
		{
			name: "crontab -e", before: `printf '#!/bin/sh\nsleep 1.1\necho "17 4 * * * true" >>"$1"\n' >/root/etest-editor; chmod 755 /root/etest-editor`,
			do: "EDITOR=/root/etest-editor crontab -e", who: root("crontab"), paths: []state.Path{"var/spool/cron/crontabs/root"},
			live: "crontab -l 2>/dev/null | grep -q '^17 4'", after: "rm /root/etest-editor",
		},
		{
			name: "a page as www-data", before: `mkdir -p /srv/www/etest /etc/etest-gui; chown www-data /etc/etest-gui
echo '<?php echo file_put_contents("/etc/etest-gui/settings.ini", "colour = ".$_POST["colour"]."\n");' >/srv/www/etest/save.php`,
			do: "curl -sSf -m 20 --data colour=green http://10.7.0.10/etest/save.php", by: "client",
			who: state.Who{Program: "apache2", User: "www-data", Service: "apache"}, paths: []state.Path{"etc/etest-gui/settings.ini"},
			live: "grep -q green /etc/etest-gui/settings.ini", after: "rm -rf /srv/www/etest /etc/etest-gui",
		},
	}
}

const (
	etestSite = `curl -s -m 10 -o /dev/null -w '%{redirect_url}' -H 'Host: etest.office.example' http://10.7.0.10/ | grep -q etest-site`
	etestTree = "mkdir -p $d/a/b $d/empty; echo 1 >$d/one; echo 2 >$d/a/b/two"
)
