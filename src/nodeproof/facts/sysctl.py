"""Kernel parameters: what runs, and what the files say that are read at boot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

_SWAP = str.maketrans("./", "/.")
_ROOT = "/proc/sys/"


@dataclass(frozen=True)
class Parameter:
    """One parameter of the running kernel."""

    value: str
    """With single spaces between its words."""
    writable: bool = True
    """Whether it can be set from here; in a container most are its host's."""


class Sysctl(FactBase[dict[str, Parameter]]):
    """
    Parameters that run, by key; a star stands for every interface. What is missing, is not there.

    .. code:: python

        {"kernel.kptr_restrict": Parameter(value="1", writable=True)}
    """

    default = dict
    called = "the kernel's parameters"

    @override
    def command(self, keys: str) -> StringCommand:
        """Return a script that prints values, and what is writable; `keys` with commas between."""
        # Not the shell's own `read`: it reads byte by byte, and after the first there is no more.
        script = (
            'all=/dev/null; for p; do for f in $p; do if [ -d "$f" ]; then echo "d:$f"; '
            'elif [ -r "$f" ]; then all="$all $f"; [ ! -w "$f" ] || echo "w:$f"; fi; done; done; '
            "grep -sH '' $all | sed 's/^/v:/'; true"
        )
        paths = [QuoteString(_ROOT + key.translate(_SWAP)) for key in keys.split(",")]
        return StringCommand("sh", "-c", QuoteString(script), "sh", *paths)

    @override
    def process(self, output: list[str]) -> dict[str, Parameter]:
        """Parse the lines; a directory, which a need names, has no value."""
        found: dict[str, Parameter] = {}
        said = [line.split(":", 2) for line in output]
        writable = {path for kind, path, *_ in said if kind in "wd"}
        for kind, path, *value in said:
            if kind in "vd":
                key = path.removeprefix(_ROOT).translate(_SWAP)
                words = " ".join("".join(value).split())
                found.setdefault(key, Parameter(words, path in writable))
        return found

    @staticmethod
    def things(value: dict[str, Parameter]) -> dict[str, Parameter]:
        """Return each parameter, by its key."""
        return value


@dataclass(frozen=True)
class Assignment:
    """One line of a file that sets parameters."""

    file: str
    line: int
    """Counted from 1."""
    key: str
    """May hold stars, for interfaces."""
    value: str | None
    """Nothing where the line only takes a key out of what stars cover."""


class SysctlFiles(FactBase[list[Assignment]]):
    """
    What files set, in the order in which they are read; the last one decides (sysctl.d(5)).

    ``/etc/sysctl.conf``, which ``sysctl --system`` reads last, and what ufw sets when it starts,
    stand at the end.

    .. code:: python

        [Assignment(file="/etc/sysctl.d/99-x.conf", line=1, key="kernel.sysrq", value="1")]
    """

    default = list
    called = "the files that set kernel parameters"

    @override
    def command(self) -> str:
        """Return a script that prints each file's name, and its lines behind a space."""
        return (
            "{ for d in /etc /run /usr/local/lib /usr/lib /lib; do for f in $d/sysctl.d/*.conf; do "
            '[ -f "$f" ] || [ -L "$f" ] && printf "%s %s\\n" "${f##*/}" "$f"; done; done | '
            "LC_ALL=C sort -s -u -k1,1; "
            '[ -L /etc/sysctl.conf ] || printf "%s\\n" "- /etc/sysctl.conf"; '
            "grep -qsix ENABLED=yes /etc/ufw/ufw.conf && "
            'printf "%s\\n" "- /etc/ufw/sysctl.conf"; } | while read -r _ f; do '
            '[ -f "$f" ] && { echo "$f:"; sed "s/^/ /" -- "$f"; }; done; true'
        )

    @override
    def process(self, output: list[str]) -> list[Assignment]:
        """Parse the files' lines; comments begin with # or ;."""
        found = []
        name, number = "", 0
        for line in output:
            if not line.startswith(" "):
                name, number = line.removesuffix(":"), 0
                continue
            number += 1
            said = line.strip()
            if said and said[0] not in "#;":
                key, equals, value = said.removeprefix("-").partition("=")
                words = " ".join(value.split()) if equals else None
                found.append(Assignment(name, number, normal(key.strip()), words))
        return found


def normal(key: str) -> str:
    """Return a key with dots between its parts: the first separator says which it is."""
    first = next((char for char in key if char in "./"), ".")
    return key if first == "." else key.translate(_SWAP)


def decisive(files: Iterable[Assignment], key: str) -> Assignment | None:
    """Return the line that sets a key at boot; one that names it wins over any with stars."""
    exact = [one for one in files if one.key == key and one.value is not None]
    return exact[-1] if exact else None


def overriding(
    files: Sequence[Assignment], path: str, wanted: Mapping[str, str]
) -> Iterator[Assignment]:
    """Yield the lines of other files that win over what the file at `path` sets, and differ.

    These are lines that are read later, and lines for one interface where ours has a star.
    """
    name = path.rpartition("/")[2]
    for one in files:
        if one.file == path or one.value is None or ("*" in one.key and one.key not in wanted):
            continue
        late = "/sysctl.d/" not in one.file or one.file.rpartition("/")[2] > name
        if one.key in wanted:
            if late and wanted[one.key] != one.value:
                yield one
        elif any(
            "*" in key and fnmatchcase(one.key, key) and value != one.value
            for key, value in wanted.items()
        ):
            yield one
