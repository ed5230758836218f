"""Scripts that run on a node: POSIX sh, or dnf's own Python; sent whole, shown by their name."""

from __future__ import annotations

from importlib.resources import files

from pyinfra.api import QuoteString, StringCommand
from typing_extensions import override


class Script(StringCommand):
    """A script of this folder as one word of a command: ``sh -c <script> sh ARGUMENT...``."""

    def __init__(self, name: str) -> None:
        super().__init__(text(name))
        self.name = name

    @override
    def get_masked_value(self) -> str:
        """Return what a plan shows of it."""
        return self.name


def script(name: str) -> QuoteString:
    """Return the script of this name, quoted."""
    return QuoteString(Script(name))


def text(name: str) -> str:
    """Return the script of this name as it is, to be a part of another one."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
