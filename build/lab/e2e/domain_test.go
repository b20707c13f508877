package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cronWait is how long cron may take for a job of every minute.
const cronWait = 80 * time.Second

// domainItems are those of the Active Directory: its users, and a computer that joins it.
func domainItems() []item {
	const realm = "AD.OFFICE.EXAMPLE"
	dc := "dc.ad.office.example"
	return []item{
		{
			"addc", "domain found by DNS",
			nil,
			func(b *business) error {
				return first(
					func() error { return b.says(dc, "dig +time=5 +short @10.7.0.20 _ldap._tcp.ad.office.example SRV") },
					func() error { return b.says("10.7.0.20", "dig +time=5 +short @10.7.0.20 "+dc+" A") },
				)
			},
		},
		{
			"addc", "user, logging in by Kerberos and on a share",
			func(b *business) error {
				admin, err := b.root("cat /etc/atlas/addc-admin.secret")
				if err != nil {
					return err
				}
				tool := "samba-tool user %s -H ldap://10.7.0.20 -U 'Administrator%%" + strings.TrimSpace(admin) + "'"
				_, err = b.root(strings.ReplaceAll(strings.ReplaceAll(tool, "%s", "show dora"), "%%", "%") + " >/dev/null 2>&1 || " +
					strings.ReplaceAll(strings.ReplaceAll(tool, "%s", "create dora "+password), "%%", "%"))
				return err
			},
			func(b *business) error {
				return first(
					func() error {
						return b.says("krbtgt/"+realm, "echo "+password+" | kinit -c /tmp/dora.cc dora@"+realm+" >/dev/null && klist -c /tmp/dora.cc")
					},
					b.doPC("smbclient //"+dc+"/sysvol -U 'AD\\dora%"+password+"' -c ls"),
					b.doPC("KRB5CCNAME=/tmp/dora.cc smbclient //"+dc+"/netlogon --use-kerberos=required -c ls"),
					func() error { return b.refused("smbclient //" + dc + "/sysvol -U 'AD\\dora%wrong' -c ls") },
				)
			},
		},
		{
			"addc", "computer that has joined the domain",
			func(b *business) error {
				admin, err := b.root("cat /etc/atlas/addc-admin.secret")
				if err != nil {
					return err
				}
				_, err = b.pc("rm -f /tmp/machine.keytab; printf %s '" + strings.TrimSpace(admin) + "' | adcli join -v --domain=ad.office.example --domain-controller=" + dc + " --host-fqdn=client.ad.office.example --computer-name=CLIENT --host-keytab=/tmp/machine.keytab --login-user=Administrator --stdin-password")
				return err
			},
			func(b *business) error {
				return first(
					func() error {
						return b.says("krbtgt/"+realm, "kinit -c /tmp/machine.cc -k -t /tmp/machine.keytab 'CLIENT$@"+realm+"' && klist -c /tmp/machine.cc")
					},
					b.doPC("KRB5CCNAME=/tmp/machine.cc ldapsearch -LLL -Q -Y GSSAPI -N -H ldap://"+dc+" -b dc=ad,dc=office,dc=example '(sAMAccountName=CLIENT$)' dn | grep -i CN=CLIENT"),
				)
			},
		},
	}
}

// systemItems are what a server needs around its services.
func systemItems() []item {
	return []item{
		{
			"ssh", "login by key and by password, on the management addresses",
			nil,
			func(b *business) error {
				key, err := b.labKey()
				if err != nil {
					return err
				}
				const quiet = " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=15 "
				for _, address := range []string{"10.7.0.11", "10.7.0.12"} {
					if err := first(
						func() error { return b.says("uid=0(root)", "ssh -i "+key+quiet+"root@"+address+" id") },
						func() error {
							return b.says("(admin)", "sshpass -p '"+b.admin+"' ssh -o PubkeyAuthentication=no"+quiet+"admin@"+address+" id")
						},
						func() error {
							return b.refused("sshpass -p wrong ssh -o PubkeyAuthentication=no" + quiet + "admin@" + address + " id")
						},
					); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			"chrony", "time",
			nil,
			func(b *business) error {
				return first(
					func() error {
						return b.says("System clock wrong by", "chronyd -Q -t 20 -u root 'server 10.7.0.10 iburst maxsamples 2' 'pidfile /run/c.pid' 'bindcmdaddress /run/c.sock' 'cmdport 0' 2>&1")
					},
				)
			},
		},
		{
			"nut", "UPS server",
			nil,
			func(b *business) error {
				return b.says("END LIST UPS", "timeout 15 bash -c 'exec 3<>/dev/tcp/10.7.0.10/3493; printf \"LIST UPS\\nLOGOUT\\n\" >&3; timeout 10 cat <&3'")
			},
		},
		{
			"cron", "a person's own jobs",
			func(b *business) error {
				_, err := b.root("rm -f /home/anna/ran; echo '* * * * * date >/home/anna/ran' | crontab -u anna -; sync")
				return err
			},
			func(b *business) error {
				return first(
					func() error { return b.has("/home/anna/ran", "crontab -l -u anna") },
					func() error {
						return within(cronWait, func() error { return b.has("anna", "stat -c %U /home/anna/ran") })
					},
				)
			},
		},
	}
}

// labKey puts the lab's ssh key where the client finds it.
func (b *business) labKey() (string, error) {
	key, err := os.ReadFile(filepath.Join(b.dir, "ssh", "id_ed25519"))
	if err != nil {
		return "", err
	}
	return "/tmp/lab.key", os.WriteFile(filepath.Join(b.dir, "client", "lab.key"), key, 0o600)
}
