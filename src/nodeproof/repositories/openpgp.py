"""Read OpenPGP keys: fingerprints, expiry, revocation. No signature is checked here.

A fingerprint covers the whole primary key, so a key with the right one is the right key. That its
own signatures are good is for whoever trusts it later, apt or rpm, to check. See RFC 9580.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nodeproof.repositories.armor import dearmored

_PRIMARY, _SUBKEY, _SIGNATURE = 6, 14, 2
_SECRET = (5, 7)
_DIRECT = 0x1F
_CERTIFIES = (0x10, 0x11, 0x12, 0x13, _DIRECT)
_BINDS, _REVOKES, _REVOKES_SUBKEY = 0x18, 0x20, 0x28
_MADE, _LASTS, _FLAGS = 2, 9, 27
_MAY_SIGN = 0x02


@dataclass
class _Key:
    """A primary key or a subkey, with what its newest signature says of it."""

    fingerprint: str
    made: int
    signed: int = -1
    lasts: int = 0
    signs: bool = True
    revoked: bool = False

    @property
    def expires(self) -> datetime | None:
        return datetime.fromtimestamp(self.made + self.lasts, UTC) if self.lasts else None

    def usable(self, now: datetime) -> bool:
        return not self.revoked and (self.expires is None or self.expires > now)


@dataclass
class Certificate:
    """One primary key with all that belongs to it."""

    primary: _Key
    packets: bytes = b""
    subkeys: list[_Key] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """Upper-case hexadecimal digits: 40 of a version 4 key, 64 of a version 6 key."""
        return self.primary.fingerprint

    @property
    def revoked(self) -> bool:
        """Whether its owner took it back."""
        return self.primary.revoked

    def expired(self, now: datetime) -> datetime | None:
        """Return since when nothing new can be signed with it, or None where it can."""
        if self.primary.expires is not None and self.primary.expires <= now:
            return self.primary.expires
        signing = [key for key in (self.primary, *self.subkeys) if key.signs]
        if not signing or any(key.usable(now) for key in signing):
            return None
        return max((key.expires for key in signing if key.expires), default=None)


def certificates(content: bytes) -> list[Certificate]:
    """Return the keys in a key file, armored or not.

    Raises ValueError, whose message goes on after the file's name: "is no OpenPGP key file".
    """
    found: list[Certificate] = []
    try:
        for tag, body, raw in _packets(dearmored(content)):
            if tag in _SECRET:
                raise ValueError("holds a secret key, which nobody but its owner may have")
            if tag == _PRIMARY:
                found.append(Certificate(_key(body)))
            elif not found:
                raise ValueError("is no OpenPGP key file")
            elif tag == _SUBKEY:
                found[-1].subkeys.append(_key(body))
            elif tag == _SIGNATURE:
                _heed(found[-1], body)
            found[-1].packets += raw
    except (IndexError, OverflowError):
        raise ValueError("is cut off, or is no OpenPGP key file") from None
    if not found:
        raise ValueError("holds no key")
    if any(one.primary.signed < 0 and not one.revoked for one in found):
        raise ValueError("holds a key that its owner has not signed; it may be cut off")
    return found


def _packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield each packet's tag, body, and itself."""
    at = 0
    while at < len(data):
        first, start = data[at], at + 1
        if not first & 0x80:
            raise ValueError("is cut off, or is no OpenPGP key file")
        if first & 0x40:
            tag = first & 0x3F
            length, start = _length(data, start)
        else:
            tag, octets = first >> 2 & 0x0F, 1 << (first & 3)
            if octets == 8:
                raise ValueError("is written in a way that keys are not")
            length, start = _number(data, start, octets), start + octets
        if start + length > len(data):
            raise ValueError("is cut off")
        yield tag, data[start : start + length], data[at : start + length]
        at = start + length


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return a length in the newer form, and where what it measures begins."""
    first = data[at]
    if first < 192:
        return first, at + 1
    if first < 224:
        return (first - 192 << 8) + data[at + 1] + 192, at + 2
    if first == 255:
        return _number(data, at + 1, 4), at + 5
    raise ValueError("is written in a way that keys are not")


def _number(data: bytes, at: int, octets: int) -> int:
    if at + octets > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + octets], "big")


def _key(body: bytes) -> _Key:
    match body[0]:
        case 4:
            told = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body)  # noqa: S324
        case 6:
            told = hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body)
        case version:
            raise ValueError(f"holds a key of version {version}, which is not known here")
    return _Key(told.hexdigest().upper(), _number(body, 1, 4))


def _heed(certificate: Certificate, body: bytes) -> None:
    """Take what a signature says of the key that it is about."""
    version, kind = body[0], body[1]
    if version not in (4, 6):
        return  # signatures of others, from long ago
    said, issuer = _subpackets(body, version)
    if issuer and not certificate.fingerprint.endswith(issuer):
        return  # somebody else's
    if kind == _REVOKES:
        certificate.primary.revoked = True
    elif kind == _REVOKES_SUBKEY and certificate.subkeys:
        certificate.subkeys[-1].revoked = True
    elif kind in _CERTIFIES and (kind != _DIRECT or said.keys() & {_LASTS, _FLAGS}):
        # Direct ones that say neither only name who else may revoke the key.
        _say(certificate.primary, said)
    elif kind == _BINDS and certificate.subkeys:
        _say(certificate.subkeys[-1], said)


def _say(key: _Key, said: dict[int, bytes]) -> None:
    made = int.from_bytes(said.get(_MADE, b""), "big")
    if made < key.signed:
        return
    key.signed = made
    key.lasts = int.from_bytes(said.get(_LASTS, b""), "big")
    key.signs = bool(said[_FLAGS][:1] and said[_FLAGS][0] & _MAY_SIGN) if _FLAGS in said else True


def _subpackets(body: bytes, version: int) -> tuple[dict[int, bytes], str]:
    """Return what the signer vouches for, by number, and who that is as far as it is said."""
    octets = 2 if version == 4 else 4
    vouched = 4 + octets
    end = vouched + _number(body, 4, octets)
    rest = end + octets
    unvouched = dict(_each_subpacket(body[rest : rest + _number(body, end, octets)]))
    said = dict(_each_subpacket(body[vouched:end]))
    # 33: the issuer's version and fingerprint; 16: the last eight octets of it.
    whole = said.get(33, unvouched.get(33, b""))
    issuer = whole[1:] if whole else said.get(16, unvouched.get(16, b""))
    return said, issuer.hex().upper()


def _each_subpacket(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        first = data[at]
        # Unlike a packet's: two octets up to 254.
        if first < 192:
            length, start = first, at + 1
        elif first < 255:
            length, start = (first - 192 << 8) + data[at + 1] + 192, at + 2
        else:
            length, start = _number(data, at + 1, 4), at + 5
        if not length or start + length > len(data):
            raise IndexError
        yield data[start] & 0x7F, data[start + 1 : start + length]
        at = start + length
