"""ASCII armor of OpenPGP keys; see RFC 9580, section 6."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

_BLOCK = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\r?\n(?P<body>.*?)"
    rb"-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)


def dearmored(content: bytes) -> bytes:
    """Return the packets of a key file; one that is not armored is returned as it is.

    Raises ValueError where it is neither.
    """
    blocks = [_decoded(found["body"]) for found in _BLOCK.finditer(content)]
    if blocks:
        return b"".join(blocks)
    # The first octet of every packet has its highest bit set.
    if not content or not content[0] & 0x80:
        raise ValueError("is no OpenPGP key file")
    return content


def armored(packets: bytes, comments: Iterable[str] = ()) -> str:
    """Return packets as one block of text, with comments in its head."""
    text = base64.b64encode(packets).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    check = base64.b64encode(_crc24(packets).to_bytes(3, "big")).decode()
    head = [f"Comment: {comment}" for comment in comments]
    return "\n".join(
        [
            *("-----BEGIN PGP PUBLIC KEY BLOCK-----", *head, ""),
            *(*lines, f"={check}", "-----END PGP PUBLIC KEY BLOCK-----", ""),
        ]
    )


def _decoded(body: bytes) -> bytes:
    lines = [line.strip() for line in body.splitlines()]
    # Headers end with an empty line; some tools leave both out.
    start = lines.index(b"") + 1 if b"" in lines else 0
    data = [line for line in lines[start:] if line and not line.startswith(b"=")]
    check = [line[1:] for line in lines[start:] if line.startswith(b"=")]
    try:
        packets = base64.b64decode(b"".join(data), validate=True)
        wanted = [int.from_bytes(base64.b64decode(one, validate=True), "big") for one in check]
    except binascii.Error:
        raise ValueError("is cut off, or was changed on its way") from None
    if any(one != _crc24(packets) for one in wanted):
        raise ValueError("is cut off, or was changed on its way")
    return packets


def _crc24(data: bytes) -> int:
    check = 0xB704CE
    for octet in data:
        check ^= octet << 16
        for _ in range(8):
            check <<= 1
            if check & 0x1000000:
                check ^= 0x1864CFB
    return check
