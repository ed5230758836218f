"""GRUB's menu as it is generated, and which of its entries boots; no node is touched here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

_DEFAULT = re.compile(r"""set default=(?:"([^"]*)"|'([^']*)'|(\S+))""")
_MENU = ("menuentry", "submenu")


@dataclass(frozen=True)
class Entry:
    """One thing that GRUB can boot."""

    path: tuple[tuple[str, ...], ...]
    """For each level of the menu: the position, the id and the title, any of which may name it."""
    image: str
    """The kernel's file; empty where the entry boots something else."""

    @property
    def name(self) -> str:
        """What chooses this entry whatever stands around it: the ids of its levels."""
        return ">".join(next(filter(None, (level[1], level[2], level[0]))) for level in self.path)

    def named(self, words: tuple[str, ...]) -> bool:
        """Tell whether these words, one a level, name it."""
        return len(words) == len(self.path) and all(
            word in level for word, level in zip(words, self.path, strict=True)
        )


@dataclass(frozen=True)
class Menu:
    """The entries of a grub.cfg, and what it says of the default."""

    entries: tuple[Entry, ...] = ()
    defaults: tuple[str, ...] = ()

    @property
    def saved(self) -> bool:
        """Whether the default is kept in grubenv, as with GRUB_DEFAULT=saved."""
        return "${saved_entry}" in self.defaults and self.once

    @property
    def once(self) -> bool:
        """Whether an entry can be chosen for one boot only."""
        return "${next_entry}" in self.defaults

    def chosen(self, environment: Mapping[str, str]) -> Entry | None:
        """Return what boots next; None where that cannot be told."""
        value = self._default(environment)
        wanted = tuple(value.split(">"))
        found = next((one for one in self.entries if one.named(wanted)), None)
        return found or next(iter(self.entries), None)  # GRUB's own fallback is the first

    def _default(self, environment: Mapping[str, str]) -> str:
        if self.once and environment.get("next_entry"):
            return environment["next_entry"]
        others = [one for one in self.defaults if one != "${next_entry}"]
        value = others[-1] if others else ""
        return environment.get("saved_entry", "") if value == "${saved_entry}" else value


def menu(lines: Iterable[str]) -> Menu:
    """Read the lines of a grub.cfg; those that are about something else may be missing."""
    entries: list[Entry] = []
    defaults: list[str] = []
    levels: list[tuple[str, ...] | None] = []  # what each open brace belongs to; None: no menu
    counts = [0]
    image = ""
    for line in (line.strip() for line in lines):
        word = line.partition(" ")[0]
        if match := _DEFAULT.match(line):
            defaults.append(next(filter(None, match.groups()), ""))
        elif line.endswith("{"):
            level = _level(line, counts[-1]) if word in _MENU else None
            counts[-1] += level is not None
            counts += [0] if word == "submenu" else []
            levels.append((*level, word) if level else None)
            image = "" if level else image
        elif line == "}" and levels:
            closed = levels.pop()
            if closed and closed[-1] == "submenu":
                counts.pop()
            elif closed:
                path = (*(one[:-1] for one in levels if one), closed[:-1])
                entries.append(Entry(path, image))
        elif line.split()[:1] and line.split()[0].startswith("linux") and len(line.split()) > 1:
            image = line.split()[1]
            if not any(levels):  # a file of a few lines that boots without a menu
                entries.append(Entry((("0", "", ""),), image))
    return Menu(tuple(entries), tuple(defaults))


def _level(line: str, position: int) -> tuple[str, str, str]:
    """Return position, id and title of a line that opens an entry or a submenu."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that does not end: GRUB could not read it either
        words = line.split()
    known = dict(pairwise(words))
    name = known.get("$menuentry_id_option", known.get("--id", ""))
    return str(position), name, words[1] if len(words) > 1 else ""
