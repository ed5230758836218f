"""Decide whether a key file is what was pinned, before anything trusts it."""

from __future__ import annotations

import hashlib
from datetime import datetime

from nodeproof.errors import UsageError
from nodeproof.repositories.armor import armored
from nodeproof.repositories.openpgp import Certificate, certificates
from nodeproof.repositories.spec import SigningKey

LARGEST = 64 * 1024
"""Octets of a key file. Vendors' keys have one to six thousand."""
_STRANGE = (
    "it is not the vendor's key, or the vendor has a new one; pin another only when the vendor "
    "announced it"
)


def trusted(content: bytes, key: SigningKey, now: datetime, where: str) -> list[Certificate]:
    """Return the keys of a key file, all of which are pinned and of use.

    Raises UsageError, which says what is wrong with the one from `where` and what to do.
    """
    content = key.proven(content)
    try:
        found = certificates(content)
    except ValueError as error:
        raise UsageError(f"the key file {where} {error}; look at what is served there") from error
    if key.fingerprints:
        _are_pinned(found, key, where)
    elif (other := digest(content, key)) != key.sha256:
        raise UsageError(
            f"the key file {where} has the digest {other}, pinned is {key.sha256}: {_STRANGE}"
        )
    for one in found:
        _of_use(one, now, where)
    return found


def digest(content: bytes, key: SigningKey) -> str:
    """Return the digest of a key file, made as that of the pin was."""
    return hashlib.sha256(key.proven(content)).hexdigest()


def _are_pinned(found: list[Certificate], key: SigningKey, where: str) -> None:
    others = [one.fingerprint for one in found if one.fingerprint not in key.fingerprints]
    if len(others) == len(found):
        raise UsageError(
            f"the key {where} is {' and '.join(others)}, pinned is "
            f"{' or '.join(key.fingerprints)}: {_STRANGE}"
        )
    if others:
        raise UsageError(
            f"the key file {where} holds {' and '.join(others)} besides the pinned key; "
            "nobody announced that one: pin it too, or ship a key file without it"
        )


def keyring(content: bytes, found: list[Certificate], key: SigningKey) -> str:
    """Return the keyring to write, which says by which pins it was chosen.

    A file that is pinned by its digest says so itself, as long as it stays as it is.
    """
    if not key.fingerprints:
        return key.proven(content).decode()
    return armored(b"".join(one.packets for one in found), [key.pinned])


def key_blocks(content: bytes, found: list[Certificate], key: SigningKey) -> str:
    """Return the same for rpm, which reads one key a block."""
    if not key.fingerprints:
        return key.proven(content).decode()
    return "".join(armored(one.packets, [key.pinned]) for one in found)


def up_to_date(text: str, key: SigningKey, now: datetime) -> bool:
    """Tell whether a keyring on a node was chosen by these pins, and is still of use."""
    try:
        trusted(text.encode(), key, now, "on the node")
    except UsageError:
        return False
    return not key.fingerprints or f"Comment: {key.pinned}" in text.splitlines()


def _of_use(certificate: Certificate, now: datetime, where: str) -> None:
    if certificate.revoked:
        raise UsageError(
            f"the key {where}, {certificate.fingerprint}, was revoked by its owner; pin the one "
            "that the vendor uses now"
        )
    since = certificate.expired(now)
    if since is not None:
        raise UsageError(
            f"the key {where}, {certificate.fingerprint}, expired on {since:%Y-%m-%d}; fetch it "
            "again where the vendor has prolonged it, or pin the vendor's new one"
        )
