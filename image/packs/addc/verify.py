"""Gives the verification account, and a computer account of the verifier that no computer has, the password in /etc/atlas/verify.secret. Run at
every start; seldom there is something to do."""

import filecmp
import os
import shutil
import sys

SECRET = "/etc/atlas/verify.secret"
SEEN = "/var/lib/samba-ad/private/atlas-verify-2"  # the secret that the directory has
COMPUTER = "atlas-verify-pc"
CONF = "/etc/samba/addc.conf"


def main():
    if not os.path.exists(SECRET) or os.path.getsize(SECRET) == 0:
        sys.exit(f"addc: {SECRET} is missing; the installer makes it")
    if os.path.exists(SEEN) and filecmp.cmp(SECRET, SEEN, shallow=False):
        return
    # Not before: they take half a second to load.
    import ldb
    from samba.auth import system_session
    from samba.param import LoadParm
    from samba.samdb import SamDB

    with open(SECRET, encoding="ascii") as f:
        password = f.read().strip()
    lp = LoadParm()
    lp.load(CONF)
    db = SamDB(url=lp.private_path("sam.ldb"), lp=lp, session_info=system_session())
    db.setpassword("(sAMAccountName=atlas-verify)", password)
    if not db.search(db.domain_dn(), expression=f"(sAMAccountName={COMPUTER}$)", attrs=["cn"]):
        # A computer account is made disabled (4096 + 2), and enabled once it has a password.
        db.add({"dn": f"CN={COMPUTER},CN=Computers,{db.domain_dn()}", "objectClass": "computer", "sAMAccountName": COMPUTER + "$", "userAccountControl": "4098"})
    db.setpassword(f"(sAMAccountName={COMPUTER}$)", password)
    enabled = ldb.Message(ldb.Dn(db, f"CN={COMPUTER},CN=Computers,{db.domain_dn()}"))
    enabled["uac"] = ldb.MessageElement("4096", ldb.FLAG_MOD_REPLACE, "userAccountControl")
    db.modify(enabled)
    shutil.copyfile(SECRET, SEEN + ".new")
    os.chmod(SEEN + ".new", 0o600)
    os.rename(SEEN + ".new", SEEN)


if __name__ == "__main__":
    main()
