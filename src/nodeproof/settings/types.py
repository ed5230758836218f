"""The grammars that strings in settings must match, so that none can reach a shell as code.

Every string setting uses one of these types; a test feeds shell metacharacters, newlines and
template syntax to each of them.
"""

from __future__ import annotations

import base64
import binascii
import re
import zoneinfo
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints


def grammar(pattern: str, allowed: str, longest: int = 255) -> StringConstraints:
    """Constrain a string; `allowed` is what the error message says about it.

    Raises ValueError for a pattern that has another sentence already: one of them would be lost.
    """
    if GRAMMARS.setdefault(pattern, allowed) != allowed:
        raise ValueError(f"{pattern}: is {GRAMMARS[pattern]!r} already, not {allowed!r}")
    return StringConstraints(pattern=pattern, max_length=longest)


GRAMMARS: dict[str, str] = {}
"""Pattern to a sentence a person understands; used by error messages and the reference pages."""

USER_NAME = r"^[a-z_][a-z0-9_-]*$"
UserName = Annotated[
    str, grammar(USER_NAME, "a user name: a-z, 0-9, - and _, at most 32", longest=32)
]
GroupName = Annotated[
    str, grammar(r"^[a-z_][a-z0-9_-]*\$?$", "a group name: a-z, 0-9, - and _", longest=32)
]
PackageName = Annotated[
    str,
    # apt-get takes a name that ends in - for a package to remove
    grammar(
        r"^[a-z0-9][a-z0-9+._-]*[a-z0-9+]$", "a package name: a-z, 0-9, + . _ and -", longest=128
    ),
]
HostName = Annotated[
    str,
    grammar(
        r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$",
        "a host name: lower-case labels of a-z, 0-9 and -",
        longest=253,
    ),
]
ServerName = Annotated[
    str,
    grammar(r"^[A-Za-z0-9:]([A-Za-z0-9_.:-]*[A-Za-z0-9:])?$", "a host name or an IP address", 253),
]
IpAddress = Annotated[
    str,
    grammar(r"^[0-9A-Fa-f.:]+$", "an IP address", longest=45),
    AfterValidator(lambda address: _of_a_node(address)),
]
ServiceName = Annotated[
    str,
    grammar(r"^[A-Za-z0-9][A-Za-z0-9_.@-]*\.service$", "a systemd service: name.service"),
]
ServiceStem = Annotated[
    str,
    grammar(r"^[A-Za-z0-9][A-Za-z0-9_.@-]*$", "how the name of a service begins", longest=128),
]
AbsolutePath = Annotated[
    str,
    grammar(
        r"^/[A-Za-z0-9._/@:+-]*$",
        "an absolute path of letters, digits and . _ / @ : + -",
        longest=1024,
    ),
    AfterValidator(lambda path: _no_parent(path)),
]
PathPattern = Annotated[
    str,
    grammar(
        r"^/[A-Za-z0-9._/@:+*?{},-]*$",
        "an absolute path, with * ** ? and {a,b} where it stands for several",
        longest=1024,
    ),
    AfterValidator(lambda path: _no_parent(path)),
    AfterValidator(lambda path: _balanced(path)),
]
CdiDevice = Annotated[
    str, grammar(r"^[a-z0-9.-]+/[a-z0-9._-]+$", "a CDI kind: vendor.com/class", longest=128)
]
SshAlgorithm = Annotated[
    str,
    grammar(r"^[a-z0-9][a-z0-9@._-]+$", "an OpenSSH algorithm name", longest=64),
]
MailAddress = Annotated[
    str,
    grammar(
        r"^[A-Za-z0-9][A-Za-z0-9._+-]*(@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)?$",
        "a mail address, or a user of the node",
        longest=254,
    ),
]
_DAY = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
UpdateWindow = Annotated[
    str,
    grammar(
        rf"^({_DAY}((,|-){_DAY})* )?{_TIME}-{_TIME}$",
        "a window such as 02:00-05:00 or Sat,Sun 22:00-04:00, in the node's time",
        longest=64,
    ),
    AfterValidator(lambda window: _lasts(window)),
]
Port = Annotated[int, Field(ge=1, le=65535)]


def _of_a_node(text: str) -> str:
    """Return the address as it is usually written; refuse one by which others reach no node."""
    address = ip_address(text)
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        raise ValueError("is no address by which other nodes reach a node")
    return str(address)


def _no_parent(path: str) -> str:
    """Refuse ``..``: a path means what it says."""
    if ".." in path.split("/"):
        raise ValueError("must not contain ..")
    return path


def _lasts(window: str) -> str:
    """Refuse a window that ends when it begins, and days that systemd would not understand."""
    days, _, times = window.rpartition(" ")
    begin, _, end = times.partition("-")
    if begin == end:
        raise ValueError("ends when it begins")
    if any(part.count("-") > 1 for part in days.split(",")):
        raise ValueError("has a range of more than two days: Mon-Fri, or Mon,Wed,Fri")
    return window


def _balanced(pattern: str) -> str:
    """Refuse braces that do not match; they would break the profile they are written into."""
    depth = 0
    for char in pattern:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth not in (0, 1):
            break
    if depth:
        raise ValueError("has braces that do not match")
    return pattern


def _time_zone(name: str) -> str:
    known = zoneinfo.available_timezones()
    if known and name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, sorted(known), n=1)
        raise ValueError("is not a time zone" + (f"; did you mean {near[0]}?" if near else ""))
    return name


TimeZone = Annotated[
    str,
    grammar(
        r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", "a time zone such as Etc/UTC or Europe/Berlin", 64
    ),
    AfterValidator(_time_zone),
]

_KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
_RSA_BITS = 2048


def _public_key(line: str) -> str:
    """Check that the base64 part is a key of the type that the line names (RFC 4253, 6.6)."""
    kind, blob = line.split(" ")[:2]
    if kind not in _KEY_TYPES:
        raise ValueError(f"has the key type {kind}; allowed are {', '.join(_KEY_TYPES)}")
    try:
        raw = base64.b64decode(blob, validate=True)
    except binascii.Error as error:
        raise ValueError("is not valid base64; was the key cut?") from error
    length = int.from_bytes(raw[:4], "big")
    if raw[4 : 4 + length] != kind.encode() or len(raw) < 4 + length + 32:
        raise ValueError(f"does not hold a {kind} key; was the key cut?")
    if kind == "ssh-rsa" and len(raw) < _RSA_BITS // 8:
        raise ValueError(f"is an RSA key of fewer than {_RSA_BITS} bits")
    return line


PublicKey = Annotated[
    str,
    grammar(
        r"^[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [A-Za-z0-9@._+=:/ -]*)?$",
        "a line of an OpenSSH .pub file: type, base64, comment",
        longest=4096,
    ),
    AfterValidator(_public_key),
]


def allowed_by(pattern: str) -> str:
    """Return the sentence for a grammar's pattern, else the pattern itself."""
    return GRAMMARS.get(pattern, f"text that matches {pattern}")


def is_user_name(name: str) -> bool:
    """Tell whether `name` matches the grammar of user names."""
    return re.fullmatch(USER_NAME.strip("^$"), name) is not None
