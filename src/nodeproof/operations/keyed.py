"""Manage single values of files that have a key and its value in each line."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping

from pyinfra import host
from pyinfra.api import FileUploadCommand, OperationValueError, operation

from nodeproof.facts.files import FileState, FileStateData
from nodeproof.operations import files
from nodeproof.operations.journal import Change

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@operation()
def file(
    path: str, values: Mapping[str, str | None], separator: str = " ", notify: str | None = None
) -> Generator[FileUploadCommand | Change]:
    """
    Make a file say each of these once; every other line, its owner and its mode stay.

    + path: where
    + values: keys to values; an empty text is a key that stands alone, None one that must not be
    + separator: what stands between a key and its value
    + notify: unit that must be told; remembered on the node until it was (see systemd.told)

    **Example:**

    .. code:: python

        keyed.file(name="Set the age of passwords", path="/etc/login.defs",
                   values={"PASS_MAX_DAYS": "365"}, separator="\\t")
    """

    now: FileStateData | None = host.get_fact(FileState, path=path)
    if now is not None and now.kind != "file":
        raise OperationValueError(f"keyed.file: {path} is no file but a {now.kind}")
    for key, value in values.items():
        if not _KEY.fullmatch(key) or "\n" in (value or ""):
            raise OperationValueError(f"keyed.file: {key}={value!r} is not a key and a line")
    text = merged(now.text if now else "", values, separator)
    owner = (now.mode, now.user, now.group) if now else ("644", "root", "root")
    if now is None and not text:
        host.noop(f"{path} does not exist")
        return
    yield from files.content._inner(
        path=path, text=text, mode=owner[0], user=owner[1], group=owner[2], notify=notify
    )


def merged(text: str, values: Mapping[str, str | None], separator: str) -> str:
    """Return a text in which each key stands once with its value: where it stood, or at the end."""
    wanted = {
        key: f"{key}{separator}{value}" if value else key
        for key, value in values.items()
        if value is not None
    }
    lines = []
    for line in text.splitlines():
        words = re.split(r"[\s=]", line.strip(), maxsplit=1)
        if words[0] not in values:
            lines.append(line)
        elif words[0] in wanted:
            said = spoken(line) == spoken(wanted[words[0]])
            new = wanted.pop(words[0])
            lines.append(line if said else new)
    return "".join(f"{line}\n" for line in [*lines, *wanted.values()])


def spoken(line: str) -> tuple[str, str]:
    """Return the key and the value that a line says, however they are set apart."""
    match = re.match(r"\s*([^\s=]+)\s*=?\s*(.*?)\s*$", line)
    return (match[1], match[2]) if match else ("", "")
