"""The files of group policies, in the folder Policies of sysvol: read, made aside with their rights, and put in place, each policy at once.

Rights are those that Windows sees; smbd keeps them in an attribute of the file and makes the ones of Linux from them, so smbd's own code
sets them."""

import ctypes
import os
import shutil
import stat

from samba.auth_util import system_session_unix
from samba.dcerpc import security
from samba.ntacls import getntacl, setntacl
from samba.samba3 import param as s3param
from samba.samba3 import passdb

from policytext import GUID, File, spelled

AT_FDCWD = -100
RENAME_EXCHANGE = 2


class Store:
    """The folder Policies of a domain."""

    def __init__(self, lp, sid):
        self.lp, self.sid = lp, security.dom_sid(sid)
        self.share = lp.get("path", "sysvol")
        self.top = os.path.join(self.share, lp.get("realm").lower(), "Policies")
        # Below the share, since smbd's code sets rights only there. Clients cannot look into it.
        self.aside = os.path.join(self.share, "atlas-policies.new")

    def acl(self, path):
        """Rights as text. Left out is what means nothing: entries that grant nothing, for Samba leaves chance numbers in those, and the
        mark that rights were inherited, which smbd does not keep."""
        try:
            sd = getntacl(self.lp, path, None)
        except Exception:  # no attribute, or one that Samba does not understand: it says RuntimeError and others
            return None
        own = security.descriptor()
        own.owner_sid, own.group_sid = sd.owner_sid, sd.group_sid
        own.type = sd.type & ~(security.SEC_DESC_DACL_AUTO_INHERITED | security.SEC_DESC_DACL_AUTO_INHERIT_REQ | security.SEC_DESC_SACL_PRESENT)
        for ace in sd.dacl.aces if sd.dacl else []:
            if ace.access_mask != 0:
                own.dacl_add(ace)
        return spelled(own.as_sddl(self.sid))

    def read(self):
        """All files: {path: File}. What vanishes meanwhile was not there."""
        files = {}

        def look(path, above):
            full = os.path.join(self.top, path)
            try:
                st = os.lstat(full)
                acl = self.acl(full)
                f = File(acl=acl if acl != above else None)
                if stat.S_ISREG(st.st_mode):
                    with open(full, "rb") as r:
                        f.content = r.read()
                elif not stat.S_ISDIR(st.st_mode):
                    return
                files[path] = f
                for name in sorted(os.listdir(full)) if f.content is None else ():
                    look(path + "/" + name, acl or above)
            except FileNotFoundError:
                files.pop(path, None)

        for name in sorted(os.listdir(self.top)):
            if GUID.fullmatch(name) and os.path.isdir(os.path.join(self.top, name)):
                look(name, None)
        return files

    def clear(self):
        shutil.rmtree(self.aside, ignore_errors=True)

    def stage(self, have, want):
        """Makes aside what is to be put in place. It gives the names of policies to put, and of those to take away."""
        self.clear()
        of = lambda files, name: {p: f for p, f in files.items() if p.split("/")[0] == name}
        tops = {p.split("/")[0] for p in want}
        put = sorted(t for t in tops if of(have, t) != of(want, t))
        gone = sorted({p.split("/")[0] for p in have} - tops)
        if not put and not gone:
            return put, gone
        os.mkdir(self.aside, 0o700)
        # Its accounts are those of the domain: without this they would be the file server's.
        s3 = s3param.get_context()
        s3.load(self.lp.configfile)
        s3.set("passdb backend", "samba_dsdb:" + self.lp.private_path("sam.ldb"))
        passdb.reload_static_pdb()
        accounts = passdb.PDB(s3.get("passdb backend"))
        effective = {}
        for path in sorted((p for p in want if p.split("/")[0] in put), key=lambda p: p.split("/")):
            f, full = want[path], os.path.join(self.aside, path)
            effective[path] = f.acl or effective.get(os.path.dirname(path))
            if f.content is None:
                os.mkdir(full, 0o770)
            else:
                with open(full, "wb", opener=lambda p, flags: os.open(p, flags, 0o770)) as w:
                    w.write(f.content)
            if effective[path]:
                setntacl(self.lp, full, effective[path], str(self.sid), system_session_unix(), use_ntvfs=False,
                         skip_invalid_chown=True, passdb=accounts, service="sysvol")
        self.sync()
        return put, gone

    def place(self, put, gone):
        """Puts what was made aside in place. A client sees each policy as it was before or as it is then."""
        libc = ctypes.CDLL(None, use_errno=True)
        for name in put:
            new, old = os.path.join(self.aside, name), os.path.join(self.top, name)
            if not os.path.exists(old):
                os.rename(new, old)
            elif libc.renameat2(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(old), RENAME_EXCHANGE) != 0:
                raise OSError(ctypes.get_errno(), "exchange with the new one", old)
        for name in gone:
            os.rename(os.path.join(self.top, name), os.path.join(self.aside, name))
        if put or gone:
            self.sync()

    def sync(self):
        fd = os.open(self.share, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
                raise OSError(ctypes.get_errno(), "write to the disk", self.share)
        finally:
            os.close(fd)
