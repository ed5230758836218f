"""Say in one sentence what a package manager's errors mean, and what to do about them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

CLOCK_MAY_DIFFER = timedelta(minutes=5)

FULL = r"No space left on device|more space (?:needed )?on the|database or disk is full"
"""What the kernel, rpm or dnf, and SQLite say of a disk that is full."""

_HEX = r"(?P<key>(?:[0-9A-Fa-f]{40}|[0-9A-Fa-f]{16}))"
_DISK = "there is not enough room on the node; free some"
_OFFLINE = (
    "{name} cannot be reached from the node ({said}); check its network, proxy and firewall, or "
    "point the repository at a mirror"
)
_MISSING = (
    "{name} is not there, or not all of it ({said}); check the address and the suite, and whether "
    "there are packages for this distribution"
)
_HASH = (
    "what {name} serves is not what it signed ({said}); a mirror is being updated, or a proxy "
    "changes files: try again later, then ask whoever runs it"
)
_SIGNED_BY_ANOTHER = (
    "{name} is signed with the key {key}, which is not the pinned one: the vendor has changed its "
    "key, or somebody else signed it; pin another key only when the vendor announced it"
)
_EXPIRED_KEY = (
    "{name} is signed with a key that has expired ({said}); fetch it again where the vendor has "
    "prolonged it, or pin the vendor's new one"
)
_BAD = (
    "the signature of {name} is wrong ({said}): it was changed on its way, or somebody else signed "
    "it; do not use it"
)
_ALIEN = (
    "a package of {name} is signed with a key that is not the pinned one, or not at all ({said}); "
    "it is not installed: ask the vendor"
)
_NOT_SIGNED = "{name} is not signed ({said}); nothing is installed from it"
_STALE = (
    "{name} says that it is out of date ({said}); its mirror has stopped, or the clock of the node "
    "is wrong"
)
_EARLY = "{name} was signed in the future ({said}): the clock of the node is wrong; set it"
_TLS = "{name} does not prove who it is ({said}); check the node's clock and its CA certificates"
_TWICE = (
    "{name} is also named in another file on the node, with other options ({said}); remove it there"
)
_WEAK = "{name} is signed in a way that is no longer trusted ({said}); its vendor must sign anew"
_BUSY = "another package manager is at work on the node ({said}); try again when it is done"

_MEANINGS: tuple[tuple[str, str], ...] = (
    (FULL, _DISK),
    (r"Conflicting values set for option", _TWICE),
    (r"Could not get lock|Unable to acquire", _BUSY),
    (r"is not valid yet", _EARLY),
    (r"Release file .* is expired|is expired \(invalid since", _STALE),
    (r"EXPKEYSIG|EXPSIG|KEYEXPIRED|not live|[Ee]xpired on|key .*expired", _EXPIRED_KEY),
    (rf"NO_PUBKEY {_HEX}|Missing key {_HEX.replace('key', 'other')}", _SIGNED_BY_ANOTHER),
    (r"Public key for .* is not installed|Package .* is not signed|GPG check FAILED", _ALIEN),
    (r"signature is not available|does not support GPG verification", _NOT_SIGNED),
    (
        r"BADSIG|Bad (?:GPG )?signature|GPG signature verification error|manipulated|BAD signature"
        r"|signature is bad",
        _BAD,
    ),
    (r"[Pp]olicy rejected|weak digest|Weak|not considered secure", _WEAK),
    (r"[Hh]ash [Ss]um mismatch|unexpected size|[Cc]hecksum (?:mismatch|doesn't)", _HASH),
    (r"is not signed|no longer signed|unsigned|NODATA", _NOT_SIGNED),
    (r"[Cc]ertificate|SSL|TLS|handshake", _TLS),
    (
        r"[Cc]ould ?n.t (?:resolve|connect)|Unable to connect|[Cc]onnection (?:failed|refused|timed"
        r"|reset)|[Tt]imed? ?out|unreachable|Temporary failure|Failed to connect|No route",
        _OFFLINE,
    ),
    (r"\b40[34]\b|Not Found|Forbidden|does not have a Release file", _MISSING),
)


def meaning(name: str, lines: Iterable[str]) -> str:
    """Return what the errors of a package manager mean; the last of them where nobody knows.

    `name` is what they are about: "repository cuda".
    """
    told = [line.strip() for line in lines if line.strip()]
    text = "\n".join(told)
    for pattern, sentence in _MEANINGS:
        if found := re.search(pattern, text):
            named = {key: value for key, value in found.groupdict().items() if value}
            key = named.get("key") or named.get("other") or ""
            return sentence.format(name=name, said=_said(told, pattern), key=key)
    return f"{name}: {told[-1] if told else 'it failed and said nothing'}"


def clock_is_wrong(node: datetime, ours: datetime) -> str:
    """Return what to say of a node's clock where it is far from ours, else nothing."""
    if abs(node - ours) <= CLOCK_MAY_DIFFER:
        return ""
    return f"; its clock says {node.astimezone(UTC):%Y-%m-%d %H:%M} UTC, ours {ours:%Y-%m-%d %H:%M}"


def _said(told: list[str], pattern: str) -> str:
    """Return the line that was recognised, without what is said anyway."""
    line = next((one for one in told if re.search(pattern, one)), told[-1])
    line = re.sub(r"^(?:[EW]: ?|Err:\d+ |- |Error: )", "", line)
    line = re.sub(r"^(?:Failed to fetch|GPG error:) ", "", line)
    line = re.sub(r" after \d+ ms\b", "", line)  # curl's; else no two nodes said the same
    return line if len(line) <= 200 else line[:197] + "..."
