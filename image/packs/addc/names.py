"""Keeps the domain's names at the controller's address: names.py ADDRESS DOMAIN. They are made with the domain; only after a change of the
address there is something to do, so that the controller need not look after them every few minutes by itself."""

import os
import socket
import struct
import sys


def addresses(server, name):
    """The IPv4 addresses that the name service at server knows for name (RFC 1035)."""
    q = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0)
    q += b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack("!2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(10)
        s.connect((server, 53))
        s.send(q)
        answer = s.recv(4096)
    # Records of this kind and length are told by their fixed part: type A, class IN, any time to live, four bytes.
    found, at = [], len(q)
    for _ in range(struct.unpack("!H", answer[6:8])[0]):
        kind, _, _, size = struct.unpack("!2HIH", answer[at + 2:at + 12])  # the name is a pointer of two bytes
        if kind == 1 and size == 4:
            found.append(socket.inet_ntoa(answer[at + 12:at + 16]))
        at += 12 + size
    return found


def main(address, domain):
    now = addresses(address, "dc." + domain)
    if address in now:
        return
    print(f"the domain's names are moved from {', '.join(now) or 'nowhere'} to {address}", flush=True)
    tool = "/usr/sbin/samba_dnsupdate"
    # Its own realm and name service, as in pack.yaml.
    env = dict(os.environ, KRB5_CONFIG="/var/lib/samba-ad/private/krb5.conf", RESOLV_CONF="/run/samba-ad/resolv.conf")
    os.execve(tool, [tool, "--use-samba-tool", "-s", "/etc/samba/addc.conf"], env)


if __name__ == "__main__":
    main(*sys.argv[1:])
