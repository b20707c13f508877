"""The policies of the domain: policies.py changed|dump|load. changed prints something short that is other after a change; dump prints
text, the same for the same state (see policytext.py); load makes the domain's policies equal to the text on standard input.

Policies are the group policies with their files, to which units of the directory they are linked, the filters that they name, and the
rules for passwords. Users, computers and groups are data and are not looked at; so to whom a separate rule for passwords applies is left
out. A unit that has links and is not there is made, empty. All of the directory is changed in one transaction, after the files were made
aside and before they are put in place.
"""

import fcntl
import hashlib
import os
import sys
import time

import ldb

PRIVATE = "/var/lib/samba-ad/private"
SYSVOL = "/var/lib/samba-ad/state/sysvol"
CONF = "/etc/samba/addc.conf"

PASSWORDS = ["maxPwdAge", "minPwdAge", "minPwdLength", "pwdHistoryLength", "pwdProperties",
             "lockoutDuration", "lockOutObservationWindow", "lockoutThreshold"]
LINKS = ["gPLink", "gPOptions"]
# The directory makes these by itself, or they are the same everywhere and cannot be changed.
GENERATED = {a.lower() for a in [
    "dn", "distinguishedName", "cn", "name", "objectGUID", "objectCategory", "instanceType", "whenCreated", "whenChanged", "uSNCreated",
    "uSNChanged", "dSCorePropagationData", "systemFlags", "isCriticalSystemObject", "msDS-PSOAppliesTo"]}
# Below these all objects are policies.
PLACES = ["CN=Policies,CN=System", "CN=Password Settings Container,CN=System", "CN=SOM,CN=WMIPolicy,CN=System"]
LINKED = "(|(gPLink=*)(gPOptions=*))"
# They are part of every domain, by these names.
ALWAYS = {"{31B2F340-016D-11D2-945F-00C04FB984F9}": "Default Domain Policy", "{6AC1786C-016F-11D2-945F-00C04FB984F9}": "Default Domain Controllers Policy"}
SD_FLAGS = "sd_flags:1:7"  # owner, group and permissions; what is audited belongs to no policy


def stamp():
    """Looks into the database's files without Samba's modules: that takes a tenth of the time, and is done at every login."""
    h = hashlib.sha256()
    for name in sorted(os.listdir(PRIVATE + "/sam.ldb.d")):
        if not name.endswith(".ldb") or name.startswith(("CN=SCHEMA", "DC=DOMAINDNSZONES", "DC=FORESTDNSZONES")):
            continue
        base = name.removesuffix(".ldb")
        db = ldb.Ldb("tdb://" + PRIVATE + "/sam.ldb.d/" + name, flags=ldb.FLG_RDONLY | ldb.FLG_DONT_CREATE_DB, options=["modules:"])
        found = list(db.search(base, ldb.SCOPE_SUBTREE, LINKED, LINKS))
        if base.startswith("DC="):
            found += db.search(base, ldb.SCOPE_BASE, attrs=PASSWORDS)
            for place in PLACES:
                found += db.search(place + "," + base, ldb.SCOPE_SUBTREE, attrs=["uSNChanged"])
        for m in sorted(found, key=lambda m: str(m.dn)):
            h.update(repr((str(m.dn), [(k, list(map(bytes, m[k]))) for k in sorted(m.keys()) if k != "dn"])).encode())
    for folder, _, names in sorted(os.walk(SYSVOL)):
        for path in [folder, *(os.path.join(folder, n) for n in sorted(names))]:
            try:
                st = os.lstat(path)
                h.update(os.fsencode(path) + f" {st.st_size} {st.st_mtime_ns} {st.st_ctime_ns}\n".encode())
            except FileNotFoundError:
                pass
    return h.hexdigest()


class Directory:
    """The domain's directory."""

    def __init__(self):
        # Not before: they take half a second to load.
        from samba.auth import system_session
        from samba.dcerpc import security
        from samba.ndr import ndr_pack, ndr_unpack
        from samba.param import LoadParm
        from samba.samdb import SamDB
        from policyfiles import Store

        self.security, self.pack, self.unpack = security, ndr_pack, ndr_unpack
        self.lp = LoadParm()
        self.lp.load(CONF)
        self.db = SamDB(url=self.lp.private_path("sam.ldb"), lp=self.lp, session_info=system_session())
        self.domain, self.sid = str(self.db.domain_dn()), self.db.get_domain_sid()
        self.store = Store(self.lp, self.sid)

    def objects(self):
        """The objects that are policies, whole, and of those that policies are linked to their links: {DN: {attribute: [value]}}."""
        out = {}
        for base in (self.domain, "CN=Sites," + str(self.db.get_config_basedn())):
            for m in self.db.search(base, ldb.SCOPE_SUBTREE, LINKED, LINKS):
                # Windows leaves a blank where a link was, and 0 means none.
                links = {k: [bytes(v) for v in m[k]] for k in LINKS if k in m and bytes(m[k][0]).strip() not in (b"", b"0")}
                if links:
                    out[str(m.dn)] = links
        [m] = self.db.search(self.domain, ldb.SCOPE_BASE, attrs=PASSWORDS)
        out.setdefault(self.domain, {}).update({k: [bytes(m[k][0])] for k in PASSWORDS if k in m})
        for place in PLACES:
            top = place + "," + self.domain
            for m in self.db.search(top, ldb.SCOPE_SUBTREE, attrs=["*", "nTSecurityDescriptor"], controls=[SD_FLAGS]):
                if m.dn != ldb.Dn(self.db, top):
                    out[str(m.dn)] = {k: [self.shown(k, bytes(v)) for v in m[k]] for k in m.keys() if k.lower() not in GENERATED}
        return out

    def shown(self, key, value):
        return self.rights(value).encode() if key == "nTSecurityDescriptor" else value

    def rights(self, value):
        """Rights as text, without those that come from the object above."""
        s = self.security
        sd = self.unpack(s.descriptor, value)
        sd.type &= ~(s.SEC_DESC_DACL_AUTO_INHERITED | s.SEC_DESC_DACL_AUTO_INHERIT_REQ)
        own = s.descriptor()
        own.owner_sid, own.group_sid, own.type = sd.owner_sid, sd.group_sid, sd.type
        for ace in sd.dacl.aces if sd.dacl else []:
            if not ace.flags & s.SEC_ACE_FLAG_INHERITED_ACE:
                own.dacl_add(ace)
        from policytext import spelled

        return spelled(own.as_sddl(s.dom_sid(self.sid)))

    def stored(self, key, value):
        s = self.security
        return self.pack(s.descriptor.from_sddl(value.decode(), s.dom_sid(self.sid))) if key == "nTSecurityDescriptor" else value

    def dump(self):
        from policytext import Policies, write

        return write(Policies(self.domain, self.sid, self.objects(), self.store.read()))

    def check(self, want):
        """Refuses what is of another domain, or would leave none."""
        from policytext import depth, policy

        if (want.domain, want.sid) != (self.domain, self.sid):
            raise ValueError(f"they are of another domain, {want.domain} ({want.sid}); this one is {self.domain} ({self.sid})")
        if missing := [name for guid, name in ALWAYS.items() if f"CN={guid},{PLACES[0]},{self.domain}" not in want.objects]:
            raise ValueError(f"the {missing[0]} is missing, which every domain has")
        places = [depth(p + "," + self.domain) for p in PLACES]
        for dn, attributes in want.objects.items():
            if self.linked(dn):
                allowed = LINKS + (PASSWORDS if dn == self.domain else [])
            elif any(depth(dn)[:len(p)] == p and len(depth(dn)) > len(p) for p in places):
                allowed = [k for k in attributes if k.lower() not in GENERATED]
            else:
                raise ValueError(f"{dn} is no policy")
            if wrong := sorted(set(attributes) - set(allowed)):
                raise ValueError(f"{wrong[0]} of {dn} is no policy")
        for path in want.files:
            if f"CN={path.split('/')[0]},{PLACES[0]},{self.domain}".lower() not in {dn.lower() for dn in want.objects if policy(dn)}:
                raise ValueError(f"there are files of {path.split('/')[0]}, but not the policy itself")

    def linked(self, dn):
        """Whether an object is one that policies are linked to, not one of them."""
        low = dn.lower()
        return low == self.domain.lower() or low.startswith("ou=") and low.endswith("," + self.domain.lower()) or ",cn=sites," in low

    def change(self, want):
        """Makes the directory's half equal: all of it or nothing."""
        self.db.transaction_start()
        try:
            self.write(want)
            if differs := sorted(dn for dn, a in self.objects().items() if normal(a) != normal(want.objects.get(dn, {}))):
                raise ValueError(differs[0] + " became other than it was written")
            self.db.transaction_prepare_commit()
        except BaseException:
            self.db.transaction_cancel()
            raise
        self.db.transaction_commit()

    def write(self, want):
        from policytext import depth

        have = self.objects()
        named = {dn.lower(): dn for dn in have}
        wanted = {dn.lower() for dn in want.objects}
        for dn in sorted(have, key=depth, reverse=True):
            if dn.lower() in wanted:
                continue
            if self.linked(dn):
                self.modify(dn, have[dn], {})
            else:
                self.db.delete(dn)
        for dn in sorted(want.objects, key=depth):
            attributes = want.objects[dn]
            is_there = named.get(dn.lower())
            if is_there is None and self.linked(dn):
                self.unit(ldb.Dn(self.db, dn))
                is_there, have[dn] = dn, {}
            if is_there is None:
                self.add(dn, attributes)
                continue
            if is_there != dn:
                self.db.rename(is_there, dn)
            self.modify(dn, have[is_there], attributes)

    def unit(self, dn):
        """Makes a unit and those above it, or a site, where they are missing."""
        try:
            self.db.search(dn, ldb.SCOPE_BASE, attrs=["dn"])
            return
        except ldb.LdbError as e:
            if e.args[0] != ldb.ERR_NO_SUCH_OBJECT:
                raise
        if dn.get_rdn_name().upper() == "OU":
            self.unit(dn.parent())
            self.db.add({"dn": dn, "objectClass": "organizationalUnit"})
            return
        for inner, kind in ("", "site"), ("CN=NTDS Site Settings,", "nTDSSiteSettings"), ("CN=Servers,", "serversContainer"):
            self.db.add({"dn": inner + str(dn), "objectClass": kind})

    def add(self, dn, attributes):
        m = ldb.Message(ldb.Dn(self.db, dn))
        for k, values in attributes.items():
            m[k] = ldb.MessageElement([self.stored(k, v) for v in values], ldb.FLAG_MOD_ADD, k)
        self.db.add(m)

    def modify(self, dn, have, want):
        m = ldb.Message(ldb.Dn(self.db, dn))
        for k in set(have) | set(want):
            if sorted(have.get(k, [])) != sorted(want.get(k, [])):
                m[k] = ldb.MessageElement([self.stored(k, v) for v in want.get(k, [])], ldb.FLAG_MOD_REPLACE, k)
        if len(m) > 0:
            self.db.modify(m, controls=[SD_FLAGS])


def dump():
    """Waits until an action is over, so that the text tells of all of it: a new group policy takes a second."""
    mark, d = stamp(), Directory()
    for _ in range(10):
        if (now := stamp()) == mark:
            text = d.dump()
            if (now := stamp()) == mark:
                return text
        mark = now
        time.sleep(0.3)
    return d.dump()


def load(text):
    from policytext import Bad, read

    try:
        want = read(text)
    except Bad as e:
        raise SystemExit(f"addc: the text to load cannot be used: {e}; nothing was changed") from e
    d = Directory()
    if d.dump() == text:
        return
    try:
        try:
            d.check(want)
            put, gone = d.store.stage(d.store.read(), want.files)
            d.change(want)
        except Exception as e:  # Samba's own are of many kinds
            said = ": ".join(str(a) for a in e.args[:2])
            raise SystemExit(f"addc: the policies could not be made equal to those given: {said}; nothing was changed") from e
        d.store.place(put, gone)
    finally:
        d.store.clear()
    if d.dump() != text:
        raise SystemExit("addc: the policies are not equal to those given after all of them were written; it is tried again")


def normal(attributes):
    return {k: sorted(v) for k, v in attributes.items()}


def main(what):
    if what == "changed":
        print(stamp())
        return
    # A dump in the middle of a load would tell of what never was.
    with open(CONF, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if what == "load" else fcntl.LOCK_SH)
        if what == "load":
            load(sys.stdin.buffer.read())
        else:
            sys.stdout.buffer.write(dump())


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("changed", "dump", "load"):
        sys.exit("usage: policies.py changed|dump|load")
    main(sys.argv[1])
