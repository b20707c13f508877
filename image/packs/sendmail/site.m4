dnl Written at each start; edit /etc/atlas/site.yaml instead. Included by /etc/mail/sendmail.mc.
define(`confDOMAIN_NAME', `{{.FQDN}}')dnl
LOCAL_DOMAIN(`{{.FQDN}} {{.Domain}} localhost')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA, Port=smtp, Addr={{.Address}}')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA-local, Port=smtp, Addr=127.0.0.1')dnl
DAEMON_OPTIONS(`Family=inet, Name=MSA, Port=submission, M=Ea, Addr={{.Address}}')dnl
DAEMON_OPTIONS(`Family=inet, Name=MSA-TLS, Port=submissions, M=Eas, Addr={{.Address}}')dnl
CLIENT_OPTIONS(`Family=inet, Address={{.Address}}')dnl
