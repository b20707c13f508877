"""The text of a domain's policies: what policies.py prints and reads. The same policies give the same bytes.

Objects of the directory with their attributes stand first, then each group policy with its objects and files:

    domain: DC=ad,DC=office,DC=example S-1-5-21-1-2-3
    object: DC=ad,DC=office,DC=example
    	minPwdLength: 7
    folder: {31B2F340-016D-11D2-945F-00C04FB984F9}
    	acl: O:DAG:DA…
    file: {31B2F340-016D-11D2-945F-00C04FB984F9}/GPT.INI
    	text utf-8 crlf
    		[General]
    END 0123456789abcdef

A value that is no plain text stands in base64 after two colons, as in LDIF; a file that is none in lines of base64. The last line has a
sum of all before it: a text that was cut off or damaged is refused.
"""

import base64
import binascii
import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass, field

# What text files begin with, and how they go on.
ENCODINGS = {"utf-16": (b"\xff\xfe", "utf-16-le"), "utf-8-bom": (b"\xef\xbb\xbf", "utf-8"), "utf-8": (b"", "utf-8")}
ENDS = {"crlf": "\r\n", "lf": "\n"}
GUID = re.compile(r"\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}", re.I)
OF_POLICY = re.compile(r"(?:^|,)CN=(\{[0-9A-F-]{36}\}),CN=Policies,CN=System,", re.I)


class Bad(Exception):
    """The text is not one that write made."""


@dataclass
class File:
    """A file below the folder Policies of sysvol, or a folder: then content is None. No acl: that of the folder above."""
    acl: str | None = None
    content: bytes | None = None


@dataclass
class Policies:
    domain: str
    sid: str
    objects: dict = field(default_factory=dict)  # DN: {attribute: [value as bytes]}
    files: dict = field(default_factory=dict)  # path, first the policy's GUID: File


def depth(dn):
    """Sorts what contains before what is contained."""
    return [part.lower() for part in reversed(re.split(r"(?<!\\),", dn))]


def policy(dn):
    """The GUID of the group policy that an object belongs to, or nothing."""
    m = OF_POLICY.search(dn)
    return m.group(1).upper() if m else ""


def line(key, value):
    try:
        text = value.decode()
        if text.isprintable() and text == text.strip():
            return f"{key}: {text}"
    except UnicodeDecodeError:
        pass
    return f"{key}:: {base64.b64encode(value).decode()}"


def as_text(content):
    """A file as encoding, ends of lines and lines, if it comes back the same from these."""
    plain = lambda l: all(c == "\t" or unicodedata.category(c)[0] != "C" for c in l)
    for name, (mark, codec) in ENCODINGS.items():
        if not content.startswith(mark):
            continue
        try:
            text = content[len(mark):].decode(codec)
        except UnicodeDecodeError:
            continue
        for end, chars in ENDS.items():
            lines = text.split(chars)
            if all(map(plain, lines)):
                return name, end, lines
    return None


def write(p):
    """The text of policies, as bytes."""
    out = [f"domain: {p.domain} {p.sid}"]
    todo = [(policy(dn), 0, depth(dn), dn) for dn in p.objects]
    todo += [(path.split("/")[0].upper(), 1, path.split("/"), path) for path in p.files]
    for _, is_file, _, name in sorted(todo):
        if not is_file:
            out.append(line("object", name.encode()))
            for key in sorted(p.objects[name], key=str.lower):
                out += ["\t" + line(key, v) for v in sorted(p.objects[name][key])]
            continue
        f = p.files[name]
        out.append(line("folder" if f.content is None else "file", os.fsencode(name)))
        if f.acl is not None:
            out.append("\t" + line("acl", f.acl.encode()))
        if f.content is None:
            continue
        text = as_text(f.content)
        if text:
            out.append(f"\ttext {text[0]} {text[1]}")
            out += ["\t\t" + l for l in text[2]]
        else:
            all64 = base64.b64encode(f.content).decode()
            out += ["\tbase64 " + all64[i:i + 96] for i in range(0, len(all64), 96)]
    body = ("\n".join(out) + "\n").encode()
    return body + b"END " + total(body) + b"\n"


def total(body):
    return hashlib.sha256(body).hexdigest()[:16].encode()


def split(l):
    """A line's key and value."""
    m = re.fullmatch(r"([A-Za-z][A-Za-z0-9-]*)(: |:: )(.*)", l, re.S)
    if not m:
        raise ValueError("it is neither `key: value` nor `key:: base64`")
    return m[1], m[3].encode() if m[2] == ": " else base64.b64decode(m[3], validate=True)


def read(text):
    """The policies of a text that write made. Anything else is refused with Bad."""
    body, _, last = text.removesuffix(b"\n").rpartition(b"\n")
    body += b"\n"
    if not text.endswith(b"\n") or not last.startswith(b"END "):
        raise Bad("it is not whole: its last line is not END")
    if last != b"END " + total(body):
        raise Bad("it is damaged: the sum in its last line is another")
    p, number = None, 0
    try:
        lines = body.decode().split("\n")[:-1]
        m = re.fullmatch(r"domain: (\S+) (S-1-5-21(?:-\d+){3})", lines[0])
        if not m:
            raise ValueError("it does not name the domain")
        p = Policies(m[1], m[2])
        entries = Entries(p)
        for number, l in enumerate(lines[1:], 1):
            entries.take(l)
        entries.end()
    except (ValueError, binascii.Error, UnicodeError) as e:
        raise Bad(f"line {number + 1}: {e}") from e
    if write(p) != text:
        raise Bad("its lines are not in their order")
    for a in p.objects.values():  # texts of before had the spelling of their Samba
        if RIGHTS in a:
            a[RIGHTS] = [spelled(v.decode()).encode() for v in a[RIGHTS]]
    for f in p.files.values():
        f.acl = f.acl and spelled(f.acl)
    return p


RIGHTS = "nTSecurityDescriptor"
ACE = re.compile(r"\(([A-Z]+);([A-Z]*);([^;()]*);")
MASKS = {
    "CC": 0x1, "DC": 0x2, "LC": 0x4, "SW": 0x8, "RP": 0x10, "WP": 0x20, "DT": 0x40, "LO": 0x80, "CR": 0x100,
    "SD": 0x10000, "RC": 0x20000, "WD": 0x40000, "WO": 0x80000,
    "GA": 0x10000000, "GX": 0x20000000, "GW": 0x40000000, "GR": 0x80000000,
    "FA": 0x1f01ff, "FR": 0x120089, "FW": 0x120116, "FX": 0x1200a0,
}


def spelled(sddl):
    """Rights in one spelling: each Samba has its own order of letters, and letters or a number for the same."""

    def number(m):
        word = m[3]
        try:
            mask = int(word, 16) if word.lower().startswith("0x") else sum(MASKS[word[i:i + 2]] for i in range(0, len(word), 2))
        except KeyError:
            return m[0]  # letters that are not known here stay
        return f"({m[1]};{m[2]};{mask:#x};"

    return ACE.sub(number, sddl)


class Entries:
    """Takes the lines of a text one after the other."""

    def __init__(self, p):
        self.p, self.now, self.body, self.form = p, None, [], None

    def take(self, l):
        if l.startswith("\t\t") and self.form and self.form != "base64":
            self.body.append(l[2:])
        elif l.startswith("\tbase64 ") and isinstance(self.now, File) and self.form in (None, "base64"):
            self.form = "base64"
            self.body.append(l[len("\tbase64 "):])
        elif l.startswith("\ttext ") and isinstance(self.now, File) and not self.form:
            encoding, end = l[len("\ttext "):].split(" ")
            if encoding not in ENCODINGS or end not in ENDS:
                raise ValueError(f"text of no known kind: {encoding} {end}")
            self.form = (encoding, end)
        elif l.startswith("\t"):
            self.attribute(*split(l[1:]))
        else:
            self.end()
            self.begin(*split(l))

    def attribute(self, key, value):
        if isinstance(self.now, dict):
            self.now.setdefault(key, []).append(value)
        elif isinstance(self.now, File) and key == "acl" and self.now.acl is None:
            self.now.acl = value.decode()
        else:
            raise ValueError(f"{key} does not belong here")

    def begin(self, key, value):
        if key == "object":
            dn = value.decode()
            if dn in self.p.objects:
                raise ValueError(f"{dn} stands there twice")
            self.now = self.p.objects[dn] = {}
            return
        if key not in ("folder", "file"):
            raise ValueError(f"there is no {key}")
        path = os.fsdecode(value)
        parts = path.split("/")
        above = self.p.files.get("/".join(parts[:-1]))
        if not GUID.fullmatch(parts[0]) or any(x in ("", ".", "..") or "\0" in x for x in parts) or path in self.p.files:
            raise ValueError(f"{path} is no place for a policy's file")
        if len(parts) == 1 and key == "file" or len(parts) > 1 and (above is None or above.content is not None):
            raise ValueError(f"{path} is in no folder")
        self.now = self.p.files[path] = File(content=None if key == "folder" else b"")

    def end(self):
        """Ends what was begun."""
        if isinstance(self.now, File) and self.now.content is not None:
            if not self.form:
                raise ValueError("the file before has no content")
            if self.form == "base64":
                self.now.content = base64.b64decode("".join(self.body), validate=True)
            else:
                mark, codec = ENCODINGS[self.form[0]]
                self.now.content = mark + ENDS[self.form[1]].join(self.body).encode(codec)
        elif self.form:
            raise ValueError("a folder has no content")
        self.now, self.body, self.form = None, [], None
