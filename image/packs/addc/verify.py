"""Gives the verification account the password in /etc/atlas/verify.secret. Run at every start; seldom there is something to do."""

import filecmp
import os
import shutil
import sys

SECRET = "/etc/atlas/verify.secret"
SEEN = "/var/lib/samba-ad/private/atlas-verify"  # the secret that the directory has
CONF = "/etc/samba/addc.conf"


def main():
    if not os.path.exists(SECRET) or os.path.getsize(SECRET) == 0:
        sys.exit(f"addc: {SECRET} is missing; the installer makes it")
    if os.path.exists(SEEN) and filecmp.cmp(SECRET, SEEN, shallow=False):
        return
    # Not before: they take half a second to load.
    from samba.auth import system_session
    from samba.param import LoadParm
    from samba.samdb import SamDB

    with open(SECRET, encoding="ascii") as f:
        password = f.read().strip()
    lp = LoadParm()
    lp.load(CONF)
    db = SamDB(url=lp.private_path("sam.ldb"), lp=lp, session_info=system_session())
    db.setpassword("(sAMAccountName=atlas-verify)", password)
    shutil.copyfile(SECRET, SEEN + ".new")
    os.chmod(SEEN + ".new", 0o600)
    os.rename(SEEN + ".new", SEEN)


if __name__ == "__main__":
    main()
