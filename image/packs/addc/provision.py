"""Makes the domain in a directory: provision.py DIRECTORY NAMES ADDRESS SITE.

What identifies the domain is derived from the site, so that every set of the site has the same domain: its SID and GUIDs from
the site's UUID, the passwords of Administrator and of the server's own account from /etc/atlas/site.secret. Passwords are handed
to samba-tool inside this process: arguments are seen by everyone. What Samba always draws at random stays so: the keys of
krbtgt, the GUIDs of single objects.
"""

import base64
import hashlib
import hmac
import os
import re
import runpy
import shutil
import sys
import uuid

SECRET = "/etc/atlas/site.secret"
ADMIN = "/etc/atlas/addc-admin.secret"
USER = "atlas-verify"


def run(program, *args):
    """Runs a Python program in this process."""
    argv, sys.argv = sys.argv, [program, *args]
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as e:
        if e.code not in (0, None):
            raise
    finally:
        sys.argv = argv


def samba_tool(*args):
    run("/usr/bin/samba-tool", *args)


def write(path, text):
    """Writes a file that root alone reads, whole or not at all."""
    fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="ascii") as f:
        f.write(text)
        f.flush()
        os.fsync(fd)
    os.rename(path + ".new", path)


def secret():
    """The site's secret. A set that came without one gets its own."""
    if not os.path.exists(SECRET):
        write(SECRET, base64.b32encode(os.urandom(30)).decode() + "\n")
    with open(SECRET, encoding="ascii") as f:
        return f.read().strip().encode()


def password(key, use):
    """A password with all classes of characters, 160 bits."""
    d = hmac.new(key, ("addc " + use).encode(), hashlib.sha256).digest()[:20]
    return "Aa1-" + base64.b32encode(d).decode()


def sid(site):
    d = hashlib.sha256(("addc domain " + site).encode()).digest()
    return "S-1-5-21-" + "-".join(str(int.from_bytes(d[i : i + 4], "big")) for i in (0, 4, 8))


def names(path):
    """The names in the configuration."""
    with open(path, encoding="utf-8") as f:
        found = dict(re.findall(r"^\s*(realm|workgroup|netbios name)\s*=\s*(\S+)", f.read(), re.M))
    for k in ("realm", "workgroup", "netbios name"):
        if k not in found:
            sys.exit(f"addc: {path} has no line `{k} = ...`; put it in, or remove the file")
    return found


def main(directory, names_file, address, site):
    n, key = names(names_file), secret()
    guid = lambda use: str(uuid.uuid5(uuid.UUID(site), "addc " + use))
    admin = password(key, "Administrator")
    samba_tool(
        "domain", "provision", "--targetdir=" + directory, "--configfile=/dev/null", "--quiet",
        "--realm=" + n["realm"], "--domain=" + n["workgroup"], "--host-name=" + n["netbios name"].lower(),
        "--host-ip=" + address, "--server-role=dc", "--dns-backend=SAMBA_INTERNAL", "--use-rfc2307",
        "--domain-sid=" + sid(site), "--domain-guid=" + guid("domain"), "--ntds-guid=" + guid("ntds"),
        "--invocationid=" + guid("invocation"),
        "--adminpass=" + admin, "--machinepass=" + password(key, "machine"), "--dnspass=" + password(key, "dns"),
        # An IPv6 address that it would find by itself is not this server's own.
        "--option=interfaces=" + address, "--option=bind interfaces only=yes",
    )
    conf = "--configfile=" + directory + "/etc/smb.conf"
    # Samba adds the names by which clients get tickets for the directory when it runs; a computer may want to join sooner.
    run("/usr/sbin/samba_spnupdate", conf)
    # The verification account has no rights but everybody's. Its policy is its own: the wrong password that the probes try must
    # never lock it out, and it never expires.
    samba_tool("user", "create", USER, "--random-password", "--description=Used by the verifier of ATLAS", conf)
    samba_tool(
        "domain", "passwordsettings", "pso", "create", USER, "1", "--complexity=off", "--min-pwd-length=16", "--max-pwd-age=0",
        "--min-pwd-age=0", "--history-length=0", "--store-plaintext=off", "--account-lockout-threshold=0",
        "--account-lockout-duration=0", "--reset-account-lockout-after=0", conf,
    )
    samba_tool("domain", "passwordsettings", "pso", "apply", USER, USER, conf)
    samba_tool("user", "setexpiry", USER, "--noexpiry", conf)
    # The Administrator's password is for the day when nobody else can get in.
    samba_tool("user", "setexpiry", "Administrator", "--noexpiry", conf)
    # The configuration is /etc/samba/addc.conf, and the locks of this run are nobody's.
    for junk in ("etc", "msg.lock", "msg.sock", "private/msg.sock", "private/tls"):
        shutil.rmtree(os.path.join(directory, junk), ignore_errors=True)
    for junk in ("gencache.tdb", "names.tdb"):
        if os.path.exists(os.path.join(directory, junk)):
            os.remove(os.path.join(directory, junk))
    os.symlink("state/sysvol/" + n["realm"].lower() + "/scripts", os.path.join(directory, "netlogon"))
    os.mkdir(os.path.join(directory, "cache"), 0o755)  # winbindd ends without it
    write(ADMIN, admin + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
