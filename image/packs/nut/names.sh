# ups: "NAME DRIVER" for each UPS in ups.conf.
ups() {
	awk '
		/^[ \t]*\[/ { gsub(/[][ \t]/, ""); name = $0; next }
		name != "" && /^[ \t]*driver[ \t]*=/ { v = $0; sub(/^[^=]*=[ \t]*/, "", v); sub(/[ \t]*(#.*)?$/, "", v); gsub(/"/, "", v); print name, v }
	' /etc/nut/ups.conf
}
