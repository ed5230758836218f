"""A kernel module: the one that runs, and the one that modprobe would load."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.uncounted import Uncounted

ASK = (
    'get() { v=; { [ -r "$1" ] && IFS= read -r v <"$1"; } 2>/dev/null; }; '
    'tell() { [ -z "$2" ] || echo "$1=$2"; }; '
    'ask() { [ -d "/sys/module/$1" ] && echo loaded=yes; '
    'get "/sys/module/$1/srcversion"; tell srcversion "$v"; '
    'tell file "$(modinfo -F filename -- "$1" 2>/dev/null)"; '
    'tell file_srcversion "$(modinfo -F srcversion -- "$1" 2>/dev/null)"; '
    'modprobe --showconfig 2>/dev/null | grep -qxF -- "blacklist $1" && echo blacklisted=yes; }; '
)
"""Shell functions: `get FILE` reads its first line into v, `ask MODULE` prints ``key=value``."""


@dataclass(frozen=True)
class LiveModule:
    """The module that runs, and the one that modprobe would load."""

    loaded: bool = False
    srcversion: str = ""
    """What it was built of; the module that is loaded."""
    file: str = ""
    """The module on the disk that modprobe would load; empty where there is none."""
    file_srcversion: str = ""
    blacklisted: bool = False
    """Whether modprobe is told to load none for a device."""

    @property
    def built_here(self) -> bool:
        """Whether it is a module of DKMS, not the kernel's own."""
        return "/updates/" in self.file

    @property
    def stale(self) -> bool:
        """Whether another module is loaded than the one on the disk."""
        return self.loaded and self.srcversion != self.file_srcversion


class KernelModule(FactBase[LiveModule]):
    """
    A kernel module as it runs and as it is on the disk.

    .. code:: python

        LiveModule(loaded=True, srcversion="A1B2", file="/lib/modules/.../i915.ko", ...)
    """

    called = "the module {module}"

    @override
    def command(self, module: str) -> StringCommand:
        """Return a script that prints ``key=value`` lines; `module` is its name."""
        script = f'{ASK}ask "$1"; true'
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(module))

    @staticmethod
    @override
    def default() -> LiveModule:
        """Return that none runs."""
        return LiveModule()

    @override
    def process(self, output: list[str]) -> LiveModule:
        """Parse the lines."""
        return a_module(output)


def a_module(lines: Iterable[str]) -> LiveModule:
    """Return what the lines of `ask` say; others are of no concern."""
    said = dict(line.split("=", 1) for line in lines if "=" in line)
    return LiveModule(
        loaded="loaded" in said,
        srcversion=said.get("srcversion", ""),
        file=said.get("file", ""),
        file_srcversion=said.get("file_srcversion", ""),
        blacklisted="blacklisted" in said,
    )


@dataclass(frozen=True)
class Loaded:
    """A module that is loaded."""

    users: Annotated[int, Uncounted("whoever opens and closes something moves it")] = 0
    """How many things use it."""
    by: tuple[str, ...] = ()
    """The modules among these."""


class LoadedModules(FactBase[dict[str, Loaded]]):
    """
    Which of some modules are loaded, by the names that the kernel has for them.

    .. code:: python

        {"overlay": Loaded(users=2, by=())}
    """

    default = dict
    called = "the modules that are loaded"

    @override
    def command(self, modules: str) -> StringCommand:
        """Return a script that prints lines of /proc/modules; commas stand between names."""
        names = [QuoteString(one) for one in modules.replace("-", "_").split(",")]
        script = (
            'while read -r name size users by rest; do for m; do [ "$m" != "$name" ] || '
            'echo "$name $users $by"; done; done 2>/dev/null </proc/modules; true'
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", *names)

    @override
    def process(self, output: list[str]) -> dict[str, Loaded]:
        """Parse the lines; ``-`` stands for no module."""
        found = {}
        for line in output:
            name, users, by = line.split()
            found[name] = Loaded(int(users), tuple(one for one in by.split(",") if one.strip("-")))
        return found


def same_value(one: str, other: str) -> bool:
    """Tell whether two values of an option are the same: 0x10 and 16, Y and 1."""
    return _number(one) == _number(other)


def _number(text: str) -> int | str:
    """Return a number, which may be in hexadecimal, else the text; Y and N are 1 and 0."""
    try:
        return int({"Y": "1", "N": "0"}.get(text, text), 0)
    except ValueError:
        return text
