# The lab's NFS server, from /etc/exports as far as that is simple (path, clients, ro, rw, squashing): ganesha.sh run|reload|ask ADDRESS
set -eu
conf=/run/ganesha/lab.conf
pid=/run/ganesha/ganesha.pid

write() {
	mkdir -p /run/ganesha
	{
		cat <<-END
			NFS_CORE_PARAM { Bind_addr = $1; NFS_Port = 2049; MNT_Port = 20048; NLM_Port = 32767; Enable_RQUOTA = false; Protocols = 3, 4; allow_set_io_flusher_fail = true; }
			NFSV4 { RecoveryBackend = fs; Lease_Lifetime = 10; Grace_Period = 10; }
			LOG { Default_Log_Level = EVENT; COMPONENTS { DBUS = NULL; } }
		END
		cat /etc/exports /etc/exports.d/*.exports 2>/dev/null | awk '
			{ sub(/#.*/, "") }
			/\\$/ { sub(/\\$/, " "); held = held $0; next }
			{
				$0 = held $0; held = ""
				if (NF < 2) next
				printf "EXPORT {\n\tExport_Id = %d; Path = %s; Pseudo = %s; Access_Type = None; SecType = sys;\n\tFSAL { Name = VFS; }\n", ++id, $1, $1
				for (i = 2; i <= NF; i++) {
					client = $i; options = ""
					if (match($i, /\(.*\)$/)) { client = substr($i, 1, RSTART - 1); options = "," substr($i, RSTART + 1, RLENGTH - 2) "," }
					if (client == "") client = "*"
					squash = "root_squash"
					if (options ~ /,no_root_squash,/) squash = "no_root_squash"
					if (options ~ /,all_squash,/) squash = "all_squash"
					printf "\tCLIENT { Clients = %s; Access_Type = %s; Squash = %s; }\n", client, options ~ /,rw,/ ? "RW" : "RO", squash
				}
				print "}"
			}'
	} >"$conf.new"
	mv "$conf.new" "$conf"
}

case "$1" in
run)
	write "$2"
	exec /usr/bin/ganesha.nfsd -F -L /dev/stdout -p "$pid" -f "$conf"
	;;
reload)
	write "$2"
	kill -HUP "$(cat "$pid")"
	;;
ask)
	rpcinfo -t "$2" 100005 3 && rpcinfo -t "$2" 100003 3
	;;
esac
