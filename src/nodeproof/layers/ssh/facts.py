"""sshd's configuration files, in the order in which sshd reads them."""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

MAIN = "/etc/ssh/sshd_config"
INCLUDE = "Include /etc/ssh/sshd_config.d/*.conf"


UNREAD = (
    f"find -L {MAIN} {MAIN}.d -maxdepth 1 "
    f"\\( -path {MAIN} -o -path {MAIN}.d -o -name '*.conf' \\) "
    "-newer /run/sshd.pid ! -newermt now"
)
"""
A command that prints what the running server has not read as it is now; sshd writes its pid when
it starts and when it is reloaded. What is of the future says that a clock jumped, and no more.
"""


class Unread(FactBase[list[str]]):
    """
    What of sshd's configuration changed after the running server had read it.

    .. code:: python

        ["/etc/ssh/sshd_config.d/50-cloud-init.conf"]
    """

    default = list
    uncounted = "it follows from the files, which count, and from when they were written"

    @override
    def command(self) -> str:
        """Return a command that prints paths, a line each; nothing where no server runs."""
        return f"{UNREAD} 2>/dev/null || true"

    @override
    def process(self, output: list[str]) -> list[str]:
        """Take the lines as they are."""
        return output


@dataclass(frozen=True)
class Directive:
    """One line that sets something."""

    file: str
    line: int
    """Counted from 0."""
    key: str
    """Lower case, as ``sshd -T`` prints it."""
    value: str
    match: str
    """The criteria of the Match block it is in; empty in the global section."""


class SshdFiles(FactBase[dict[str, str]]):
    """
    Every file that sshd may read, with its text.

    .. code:: python

        {"/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\\n..."}
    """

    default = dict
    called = "the files of sshd"

    @override
    def command(self) -> str:
        """Return a command that prints each line behind its file's name."""
        return (
            "for f in /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf; do "
            '[ -f "$f" ] && { echo "$f:"; sed "s/^/ /" -- "$f"; }; done; true'
        )

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        """Parse file names (not indented) and their lines (indented by one space)."""
        files: dict[str, list[str]] = {}
        name = ""
        for line in output:
            if line.startswith(" "):
                files[name].append(line[1:])
            else:
                name = line.removesuffix(":")
                files[name] = []
        return {name: "".join(f"{line}\n" for line in lines) for name, lines in files.items()}

    @staticmethod
    def things(value: dict[str, str]) -> dict[str, str]:
        """Return each file's text, by its path."""
        return value


def directives(files: dict[str, str]) -> list[Directive]:
    """Return what the files say, in the order in which sshd obtains it (sshd_config(5))."""
    return list(_read(files, MAIN, ""))


def _read(files: dict[str, str], name: str, match: str) -> Iterator[Directive]:
    for number, line in enumerate(files.get(name, "").splitlines()):
        words = line.split("#", 1)[0].replace("=", " ", 1).split(None, 1)
        if not words:
            continue
        key, value = words[0].lower(), words[1].strip() if len(words) > 1 else ""
        if key == "match":
            match = value.lower()  # to the end of this file, or the next Match
        yield Directive(name, number, key, value, match)
        if key == "include":
            for pattern in shlex.split(value):
                for included in sorted(fnmatch.filter(files, _absolute(pattern))):
                    if included != name:
                        yield from _read(files, included, match)


def _absolute(pattern: str) -> str:
    return pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"


class LooseFiles(FactBase[list[str]]):
    """
    Files of sshd that are not root's, or that others can write, and host keys others can read.

    .. code:: python

        ["/etc/ssh/ssh_host_ed25519_key"]
    """

    default = list
    called = "who may write the files of sshd"

    @override
    def command(self) -> str:
        """Return a command that prints one path a line."""
        return (
            "find /etc/ssh ! -user root -o ! -type l -perm /022 "
            "-o -name 'ssh_host_*_key' -perm /077"
        )

    @override
    def process(self, output: list[str]) -> list[str]:
        """Return the lines."""
        return sorted(output)
