"""What an operation would do, as it may be shown: its commands, their diff, their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from pyinfra.api import FileUploadCommand, FunctionCommand
from pyinfra.api.util import get_file_io

from nodeproof.operations import journal
from nodeproof.secrets import is_secret

DIFF_LIMIT = 400
"""Lines of a diff that are shown."""


@dataclass(frozen=True)
class Planned:
    """What one operation would do: its commands as they may be shown, and their diff."""

    layer: str
    name: str
    commands: tuple[str, ...]
    diff: str
    counted: tuple[str, ...]
    """The commands without those that may be needed or not."""
    slow: bool = False
    """Whether it may take minutes."""
    lasting: tuple[str, ...] = ()
    """What of it cannot be taken back, a sentence each."""

    def digest(self) -> str:
        """Return a sha256 over what would be done."""
        text = "\x00".join((self.layer, self.name, *self.counted))
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def of(cls, title: str, commands: list[Any], known: Callable[[str], str]) -> Planned:
        """Describe commands; `title` is "layer | name", `known` gives the text that a path has."""
        layer, _, name = title.partition(" | ")
        ours = [one for one in commands if isinstance(one, journal.Change)]
        return cls(
            layer,
            name or layer,
            tuple(line for command in commands for line in shown(command)),
            "".join(_diff(command, known) for command in commands),
            tuple(
                line
                for command in commands
                if getattr(command, "counts", True)
                for line in shown(command)
            ),
            any(one.slow for one in ours),
            tuple(sentence for one in ours for sentence in one.lasting),
        )


def shown(command: Any) -> list[str]:
    """Return a command as it may be shown and hashed: secrets masked, uploads by their digest."""
    if isinstance(command, FileUploadCommand):
        digest = (
            "secret" if is_secret(command.src) else hashlib.sha256(_content(command)).hexdigest()
        )
        return [f"upload {_path(command)} ({digest})"]
    if isinstance(command, FunctionCommand):
        return [f"call {command.function.__name__}"]
    return [str(command)]


def _diff(command: Any, known: Callable[[str], str]) -> str:
    if not isinstance(command, FileUploadCommand) or is_secret(command.src):
        return ""
    path = _path(command)
    after = _content(command).decode(errors="replace")
    lines = unified_diff(
        known(path).splitlines(), after.splitlines(), f"{path} (on the node)", path, lineterm=""
    )
    return "".join(f"{line}\n" for line in list(lines)[:DIFF_LIMIT])


def _path(command: FileUploadCommand) -> str:
    """Return where the content ends up; a change writes beside it first."""
    return str(getattr(command, "final", command.dest))


def _content(command: FileUploadCommand) -> bytes:
    with get_file_io(command.src) as stream:
        content = stream.read()
    return content.encode() if isinstance(content, str) else bytes(content)
