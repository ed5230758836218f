"""Files as they are on a node."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Annotated

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.uncounted import Uncounted

LARGEST = 1024 * 1024
"""Bytes of content that are read; a larger file is of another kind, without content."""


@dataclass(frozen=True)
class FileStateData:
    """One path: what it is, who owns it, what it holds."""

    kind: str
    """file, large, directory, link or other."""
    mode: str
    """Octal without leading zero, e.g. 644."""
    user: str
    group: str
    content: bytes = b""
    """Of a file: its bytes. Of a link: its target."""

    @property
    def text(self) -> str:
        """The content, for people."""
        return self.content.decode(errors="replace")


@dataclass(frozen=True)
class SecretFileStateData(FileStateData):
    """A path that holds a secret."""

    content: Annotated[bytes, Uncounted("a digest of a weak secret can be guessed")] = b""


class FileState(FactBase[FileStateData | None]):
    """
    A path with its metadata and content, or None where there is nothing.

    .. code:: python

        FileStateData(kind="file", mode="644", user="root", group="root", content=b"...")
    """

    called = "{path}"

    @override
    def command(self, path: str) -> StringCommand:
        """Return a script that prints metadata, then content in base64."""
        script = (
            '[ -e "$1" ] || [ -L "$1" ] || exit 0; '
            'stat -c "%F|%a|%U|%G" -- "$1"; '
            'if [ -L "$1" ]; then readlink -n -- "$1" | base64 -w0; '
            f'elif [ -f "$1" ] && [ "$(stat -c %s -- "$1")" -le {LARGEST} ]; '
            'then base64 -w0 -- "$1"; fi'
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(path))

    @override
    def process(self, output: list[str]) -> FileStateData | None:
        """Parse what the script printed."""
        if not output:
            return None
        kind, mode, user, group = output[0].split("|")
        kinds = {"regular file": "file", "regular empty file": "file", "symbolic link": "link"}
        if kind == "regular file" and not output[1:]:
            kinds[kind] = "large"
        return FileStateData(
            kind=kinds.get(kind, kind if kind == "directory" else "other"),
            mode=mode,
            user=user,
            group=group,
            content=base64.b64decode("".join(output[1:])),
        )


class SecretFileState(FileState):
    """
    The same of a file that holds a secret: a saved plan has no trace of its content.

    .. code:: python

        SecretFileStateData(kind="file", mode="600", user="root", group="root", content=b"...")
    """

    @override
    def process(self, output: list[str]) -> SecretFileStateData | None:
        """Parse what the script printed."""
        state = super().process(output)
        return None if state is None else SecretFileStateData(**vars(state))
