package facts

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/convert/facts"
)

type params = map[string]facts.Param

// TestParse reads excerpts of what the programs of Debian 12 and 13 really print.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		service string
		want    params
		modules []string
		version string
	}{
		{"ssh", params{
			"port": {Default: "22"}, "listenaddress": {Default: "[::]:22\n0.0.0.0:22"}, "hostkey": {}, "authorizedkeysfile": {Default: ".ssh/authorized_keys .ssh/authorized_keys2"},
			"kbdinteractiveauthentication":    {Default: "yes"},
			"challengeresponseauthentication": {Type: "alias of kbdinteractiveauthentication", Status: facts.Deprecated},
			"useprivilegeseparation":          {Status: facts.Ignored}, "allowusers": {}, "match": {}, "include": {},
		}, nil, "9.2p1"},
		{"samba", params{
			"abort shutdown script": {}, "max log size": {Default: "5000"}, "lanman auth": {Default: "No", Status: facts.Deprecated}, "client NTLMv2 auth": {Default: "Yes", Status: facts.Deprecated},
			"path": {}, "read only": {Default: "Yes"}, "writeable": {Type: "alias of read only"}, "protocol": {},
		}, []string{"vfs/recycle"}, "4.22.11"},
		{"postfix", params{
			"alias_maps": {Default: "hash:/etc/aliases, nis:mail.aliases"}, "bounce_notice_recipient": {Default: "postmaster"}, "content_filter": {},
			"postscreen_denylist_action":  {Default: "${postscreen_blacklist_action?{$postscreen_blacklist_action}:{ignore}}"},
			"postscreen_blacklist_action": {Type: "alias of postscreen_denylist_action", Status: facts.Deprecated},
			"smtp/inet":                   {Default: "n - y - - smtpd", Type: "master.cf"},
		}, []string{"map/hash", "map/ldap"}, "3.10.13"},
		{"postgresql", params{
			"DateStyle": {Default: "ISO, MDY", Type: "string"}, "shared_buffers": {Default: "16384", Type: "integer"}, "config_file": {Type: "string"},
			"server_version": {Type: "internal"}, "log_line_prefix": {Default: `%m [%p] `, Type: "string"}, "archive_command": {Default: "a\\b\tc", Type: "string"},
		}, []string{"extension/plpgsql", "timezone/US/Pacific"}, "17.12"},
		{"mariadb", params{
			"date_format": {Default: "%Y-%m-%d", Status: facts.Ignored}, "innodb_buffer_pool_size": {Default: "134217728"}, "big_tables": {Default: "FALSE", Status: facts.Deprecated},
			"bind_address": {}, "wsrep_slave_FK_checks": {Default: "TRUE"}, "innodb_large_prefix": {Status: facts.Ignored}, "log_raw": {Status: facts.Ignored},
			"bootstrap": {Type: "option"}, "port": {Default: "0"},
		}, []string{"auth_pam"}, "10.11.19"},
		{"dovecot", params{
			"auth_mechanisms": {Default: "plain"}, "mail_location": {}, "service auth/client_limit": {Default: "0"}, "service auth/unix_listener login/mode": {Default: "0666"},
			"ssl": {Default: "yes"},
		}, []string{"lib10_quota_plugin"}, "2.3.19.1"},
		{"apache", params{"<Directory": {Type: "core"}, "order": {Type: "mod_access_compat"}}, []string{"ssl"}, "2.4.71"},
		{"php", params{
			"allow_url_fopen": {Default: "1"}, "arg_separator.input": {Default: "&"}, "error_log": {}, "display_errors": {Default: "1"}, "html_errors": {Default: "1"},
			"implicit_flush": {Default: "0"}, "max_execution_time": {Default: "30"}, "output_buffering": {Default: "0"},
		}, []string{"PDO", "Zend OPcache"}, "8.4.28"},
		{"openldap", params{}, []string{"back_mdb", "schema/core", "static/config"}, "2.5.13+dfsg-5"},
		{"kerberos", params{"aes256-cts-hmac-sha1-96": {Type: "enctype"}, "arcfour-hmac": {Type: "enctype", Status: facts.Deprecated}}, []string{"kdb/db2"}, "1.21.3"},
		{"chrony", params{"leapsectz": {}, "makestep": {}}, nil, "4.6.1"},
		{"nfs", params{"general/pipefs-directory": {Default: "/run/rpc_pipefs"}, "nfsd/threads": {Default: "16"}, "nfs-kernel-server/RPCNFSDCOUNT": {Default: "8"}}, nil, "1:2.8.3-1"},
		{"login", params{"MAIL_DIR": {Default: "/var/mail"}, "FAILLOG_ENAB": {Default: "yes"}, "HOME_MODE": {}}, nil, "1:4.13+dfsg1-1+deb12u2"},
		{"nftables", params{}, nil, "1.1.3"},
	} {
		t.Run(c.service, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", c.service+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			q := find(t, c.service)
			q.least, q.leastModules = 0, 0
			got, err := q.answer(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got.Params); d != "" {
				t.Errorf("parameters (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.modules, got.Modules); d != "" {
				t.Errorf("modules (-want +got):\n%s", d)
			}
			if got.Version != c.version {
				t.Errorf("version %q; want %q", got.Version, c.version)
			}
		})
	}
}

// TestTooFew: a program that tells its parameters in a new way must not give empty facts.
func TestTooFew(t *testing.T) {
	for _, q := range questions() {
		if q.least+q.leastModules == 0 {
			continue
		}
		if _, err := q.answer("@@ version\n" + "Apache/1 Version 1 (PostgreSQL) 1 Ver 1 version 1 slapd 1 PHP 1 OpenSSH_1\n"); err == nil {
			t.Errorf("%s: nothing told, and no error", q.service)
		}
	}
	if _, err := find(t, "ssh").answer("@@ version\nsomething else\n"); err == nil {
		t.Error("no version, and no error")
	}
}

func find(t *testing.T, service string) question {
	t.Helper()
	for _, q := range questions() {
		if q.service == service {
			return q
		}
	}
	t.Fatalf("nobody asks %s", service)
	return question{}
}

// TestMarshal: the same facts give the same bytes, a line for each, and nothing is lost.
func TestMarshal(t *testing.T) {
	r := &facts.Release{
		Number: 13, Packages: map[string]string{"b": "2", "a": "1"}, Etc: map[string]string{"etc/b": "00"},
		Services: map[string]facts.Service{"ssh": {Version: "10", Source: "sshd -T", Params: params{"x": {Default: "<a & b>\n"}, "w": {Status: facts.Ignored}}, Modules: []string{"m", "n"}}, "php": {Version: "8", Params: params{}}},
	}
	data, err := Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	back := new(facts.Release)
	if err := json.Unmarshal(data, back); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	if d := cmp.Diff(r, back); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if again, _ := Marshal(back); !bytes.Equal(data, again) {
		t.Errorf("other bytes the second time:\n%s\n%s", data, again)
	}
	if !bytes.Contains(data, []byte("\n\"w\": {\"status\":\"ignored\"},\n\"x\": {\"default\":\"<a & b>\\n\"}")) {
		t.Errorf("got\n%s", data)
	}
}
