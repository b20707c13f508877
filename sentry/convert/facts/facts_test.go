package facts

import (
	"slices"
	"testing"
)

func of(t *testing.T, number int) *Release {
	t.Helper()
	r, err := Of(number)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestKnown: which releases know a parameter; "-" not, "i" takes and ignores it, "d" is giving it up, "y" knows it. In the order 11, 12, 13.
func TestKnown(t *testing.T) {
	for _, c := range []struct{ service, param, want string }{
		{"postgresql", "operator_precedence_warning", "y--"},
		{"postgresql", "stats_temp_directory", "y--"},
		{"postgresql", "vacuum_cleanup_index_scale_factor", "y--"},
		{"postgresql", "promote_trigger_file", "yy-"},
		{"postgresql", "old_snapshot_threshold", "yy-"},
		{"postgresql", "vacuum_defer_cleanup_age", "yy-"},
		{"postgresql", "db_user_namespace", "yy-"},
		{"postgresql", "trace_recovery_messages", "yy-"},
		{"postgresql", "force_parallel_mode", "yy-"},
		{"postgresql", "debug_parallel_query", "--y"},
		{"mariadb", "innodb_mutexes", "y--"},
		{"mariadb", "innodb_sys_datafiles", "y--"},
		{"mariadb", "innodb_sys_semaphore_waits", "y--"},
		{"mariadb", "wsrep_replicate_myisam", "y--"},
		{"mariadb", "wsrep_strict_ddl", "y--"},
		{"mariadb", "innodb_file_format", "dii"},
		{"mariadb", "innodb_large_prefix", "dii"},
		{"mariadb", "innodb_buffer_pool_instances", "dii"},
		{"mariadb", "old_alter_table", "dd-"},
		{"mariadb", "max_tmp_tables", "yy-"},
		{"mariadb", "innodb_change_buffer_max_size", "yy-"},
		{"mariadb", "innodb_buffer_pool_in_core_dump", "-y-"},
		{"mariadb", "innodb_change_buffering", "yyi"},
		{"mariadb", "innodb_defragment", "yyi"},
		{"mariadb", "date_format", "iii"},
		{"samba", "share backend", "y--"},
		{"samba", "NIS homedir", "y--"},
		{"samba", "homedir map", "y--"},
		{"samba", "client use spnego principal", "dd-"},
		{"samba", "directory name cache size", "yy-"},
		{"samba", "cldap port", "yy-"},
		{"samba", "smb1 unix extensions", "-yy"},
		{"samba", "unix extensions", "yyy"},
		{"samba", "server smb encrypt", "-yy"},
		{"samba", "smb encrypt", "yyy"},
		{"postfix", "postscreen_denylist_action", "-yy"},
		{"postfix", "postscreen_blacklist_action", "ydd"},
		{"postfix", "smtpd_per_request_deadline", "-yy"},
		{"postfix", "smtpd_per_record_deadline", "ydd"},
		{"postfix", "maildrop/unix", "yy-"},
		{"ssh", "kbdinteractiveauthentication", "yyy"},
		{"ssh", "challengeresponseauthentication", "ydd"},
		{"ssh", "pubkeyacceptedkeytypes", "ydd"},
		{"ssh", "pubkeyacceptedalgorithms", "-yy"},
		{"ssh", "useprivilegeseparation", "iii"},
		{"dovecot", "mail_location", "yy-"},
		{"dovecot", "ssl_cert", "yy-"},
		{"dovecot", "ssl_server_cert_file", "--y"},
		{"chrony", "leapsectz", "yyy"},
		{"chrony", "leapseclist", "--y"},
		{"php", "track_errors", "y--"},
		{"php", "log_errors_max_len", "y--"},
		{"php", "assert.quiet_eval", "y--"},
		{"php", "opcache.consistency_checks", "yy-"},
		{"apache", "order", "yyy"},
		{"login", "FAILLOG_ENAB", "yy-"},
		{"login", "SU_NAME", "yy-"},
		{"login", "FTMP_FILE", "yy-"},
		{"login", "HOME_MODE", "-yy"},
		{"kerberos", "des-cbc-crc", "---"},
		{"kerberos", "des3-cbc-sha1", "ddd"},
	} {
		got := ""
		for _, n := range []int{11, 12, 13} {
			r := of(t, n)
			switch s := r.Services[c.service].Params[c.param].Status; {
			case !r.Knows(c.service, c.param):
				got += "-"
			case s == Ignored:
				got += "i"
			case s == Deprecated:
				got += "d"
			default:
				got += "y"
			}
		}
		if got != c.want {
			t.Errorf("%s: %s is known as %q; want %q", c.service, c.param, got, c.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		service, param string
		want           [3]string
	}{
		{"postgresql", "password_encryption", [3]string{"md5", "scram-sha-256", "scram-sha-256"}},
		{"postgresql", "checkpoint_completion_target", [3]string{"0.5", "0.9", "0.9"}},
		{"postgresql", "hash_mem_multiplier", [3]string{"1", "2", "2"}},
		{"postgresql", "log_checkpoints", [3]string{"off", "on", "on"}},
		{"mariadb", "character_set_server", [3]string{"latin1", "latin1", "utf8mb4"}},
		{"mariadb", "collation_server", [3]string{"latin1_swedish_ci", "latin1_swedish_ci", "utf8mb4_uca1400_ai_ci"}},
		{"mariadb", "innodb_undo_tablespaces", [3]string{"0", "0", "3"}},
		{"mariadb", "innodb_flush_method", [3]string{"fsync", "O_DIRECT", "O_DIRECT"}},
		{"mariadb", "explicit_defaults_for_timestamp", [3]string{"FALSE", "TRUE", "TRUE"}},
		{"mariadb", "innodb_snapshot_isolation", [3]string{"", "FALSE", "TRUE"}},
		{"mariadb", "ssl", [3]string{"FALSE", "FALSE", "TRUE"}},
		{"samba", "reject md5 clients", [3]string{"No", "Yes", "Yes"}},
		{"samba", "reject md5 servers", [3]string{"No", "Yes", "Yes"}},
		{"samba", "server multi channel support", [3]string{"No", "Yes", "Yes"}},
		{"samba", "winbind scan trusted domains", [3]string{"Yes", "No", "No"}},
		{"postfix", "smtpd_tls_protocols", [3]string{"!SSLv2, !SSLv3", ">=TLSv1", ">=TLSv1"}},
		{"postfix", "smtpd_forbid_bare_newline", [3]string{"no", "no", "normalize"}},
		{"postfix", "milter_default_action", [3]string{"tempfail", "tempfail", "shutdown"}},
		{"nfs", "nfsd/threads", [3]string{"", "8", "16"}},
		{"login", "ENCRYPT_METHOD", [3]string{"SHA512", "SHA512", "YESCRYPT"}},
	} {
		for i, n := range []int{11, 12, 13} {
			if got, _ := of(t, n).Default(c.service, c.param); got != c.want[i] {
				t.Errorf("Debian %d: %s: the default of %s is %q; want %q", n, c.service, c.param, got, c.want[i])
			}
		}
	}
}

func TestModules(t *testing.T) {
	for _, c := range []struct {
		service, module string
		want            [3]bool
	}{
		{"openldap", "back_bdb", [3]bool{true, false, false}},
		{"openldap", "back_hdb", [3]bool{true, false, false}},
		{"openldap", "back_shell", [3]bool{true, false, false}},
		{"openldap", "back_mdb", [3]bool{true, true, true}},
		{"openldap", "schema/ppolicy", [3]bool{true, false, false}},
		{"openldap", "argon2", [3]bool{false, true, true}},
		{"dovecot", "program/replicator", [3]bool{true, true, false}},
		{"dovecot", "program/director", [3]bool{true, true, false}},
		{"apache", "access_compat", [3]bool{true, true, true}},
		{"postgresql", "timezone/US/Pacific", [3]bool{true, true, true}}, // in 13 by tzdata-legacy, which is in the image
	} {
		for i, n := range []int{11, 12, 13} {
			if got := slices.Contains(of(t, n).Services[c.service].Modules, c.module); got != c.want[i] {
				t.Errorf("Debian %d: %s has %s: %v; want %v", n, c.service, c.module, got, c.want[i])
			}
		}
	}
}

func TestShips(t *testing.T) {
	for _, n := range []int{11, 12, 13} {
		r := of(t, n)
		if len(r.Etc) < 300 || len(r.Packages) < 300 || len(r.Services) < 14 {
			t.Errorf("Debian %d: %d files, %d packages, %d services", n, len(r.Etc), len(r.Packages), len(r.Services))
		}
		if r.Ships("etc/ssh/sshd_config", []byte("Port 22\n")) || r.Ships("etc/nothing", nil) {
			t.Errorf("Debian %d ships what it does not", n)
		}
	}
	if of(t, 12).Etc["etc/ssh/sshd_config"] == of(t, 13).Etc["etc/ssh/sshd_config"] {
		t.Error("Debian 12 and 13 have the same sshd_config")
	}
}
