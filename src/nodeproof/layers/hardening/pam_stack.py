"""What a service's PAM stack does, line by line, as libpam reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from testinfra.host import Host

_LINE = re.compile(r"-?(\w+)\s+(\[[^]]*\]|\w+)\s+(\S+)\s*(.*)")


@dataclass(frozen=True)
class Line:
    """One module in a stack."""

    control: str
    module: str
    arguments: tuple[str, ...]


def stack(host: Host, service: str, kind: str) -> list[Line]:
    """Return the lines of a service's stack of one type (auth, account, password, session)."""
    return list(_lines(host, service, kind))


def place(lines: list[Line], module: str, *arguments: str) -> int:
    """Return where a module with these arguments stands; fails where it does not."""
    for at, line in enumerate(lines):
        if line.module == module and {*arguments} <= {*line.arguments}:
            return at
    named = " ".join((module, *arguments))
    raise AssertionError(f"{named} is not in the stack")


def _lines(host: Host, service: str, kind: str) -> Iterator[Line]:
    text = host.check_output("cat /etc/pam.d/%s", service).replace("\\\n", " ")
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        words = line.split()
        if words[:1] == ["@include"]:
            yield from _lines(host, words[1], kind)
        elif (match := _LINE.fullmatch(line)) and match[1] == kind:
            if match[2] in ("include", "substack"):
                yield from _lines(host, match[3], kind)
            else:
                yield Line(match[2], match[3].rsplit("/", 1)[-1], tuple(match[4].split()))
