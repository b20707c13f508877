"""Tells by its exit status whether the domain controller serves: ready.py ADDRESS DOMAIN. It asks what a client asks first: the
name service for the domain's servers, the directory over TLS for its root; Kerberos, file shares, password changes and RPC must
accept connections, and so must winbindd, without which smbd lets nobody in."""

import socket
import ssl
import struct
import sys
import time

# A search for the root of the directory, scope base, filter (objectClass=*) (RFC 4511).
ROOT_DSE = bytes.fromhex("302502010163200400 0a0100 0a0100 020100 020100 010100 870b") + b"objectClass" + bytes.fromhex("3000")


def srv(name):
    """A DNS query for the service records of name (RFC 1035, 2782)."""
    q = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0)
    for label in name.split("."):
        q += bytes([len(label)]) + label.encode()
    return q + b"\0" + struct.pack("!2H", 33, 1)


def main(address, domain):
    for port in (88, 135, 389, 445, 464, 3268):
        socket.create_connection((address, port), 2).close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.connect((address, 53))
        s.send(srv("_ldap._tcp." + domain))
        answers = struct.unpack("!H", s.recv(4096)[6:8])[0]
        if answers == 0:
            raise OSError(f"it does not know the servers of {domain}")
    with open("/run/samba-ad/samba.pid", encoding="ascii") as f:
        pid = f.read().strip()
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(2)
        s.connect(f"/proc/{pid}/root/run/samba/winbindd/pipe")  # its /run/samba is its own
    context = ssl._create_unverified_context()
    with context.wrap_socket(socket.create_connection((address, 636), 2)) as s:
        s.settimeout(5)
        s.sendall(ROOT_DSE)
        if b"defaultNamingContext" not in s.recv(65536):
            raise OSError("it does not tell its directory's root")


if __name__ == "__main__":
    # It asks for a while, since to be started anew each time would cost a small machine more than the asking.
    for left in range(20, -1, -1):
        try:
            main(*sys.argv[1:])
            break
        except OSError as e:
            if left == 0:
                sys.exit(f"{sys.argv[1]}: {e}")
            time.sleep(1)
