# Prints what sshd makes of its configuration: effective.sh. What is as it would be with an empty file has a tilde.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A setting that stands there several times becomes one. Host keys are needed, and are no part of the question.
flat() { awk '{ n = $1; sub(/^[^ ]+ ?/, ""); if (n in v) v[n] = v[n] " | " $0; else { o[++c] = n; v[n] = $0 } } END { for (i = 1; i <= c; i++) print o[i] " = " v[o[i]] }'; }
key=$(sed -n 's/^HostKey //p' /run/atlas/ssh/sshd_config | head -n 1)
/usr/sbin/sshd -T -f /dev/null -h "$key" 2>/dev/null | flat >"$work/default"
/usr/sbin/sshd -T -f /run/atlas/ssh/sshd_config >"$work/said"
flat <"$work/said" | awk 'NR == FNR { d[$0] = 1; next } { print ($0 in d ? "~" : "") $0 }' "$work/default" -
