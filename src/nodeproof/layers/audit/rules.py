"""Audit rules: which ones a node gets, how they are written, and when two say the same."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

TABLE = Path(__file__).with_name("rules.toml")
STRICT = 2
PEOPLE = ("auid>=1000", "auid!=unset")
"""Who logged in: pam_loginuid sets it, services have none; 1000 is UID_MIN of login.defs."""
MOST_FIELDS = 60
"""The kernel takes 64 (AUDIT_MAX_FIELDS), of which some are a rule's own."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Syscalls(_Data):
    """System calls in one rule."""

    names: tuple[str, ...]
    fields: tuple[str, ...] = ()
    compare: str = ""
    people: bool = False
    """Only of who logged in."""
    strict_everybody: bool = False
    """At level 2 of services, too."""


class Group(_Data):
    """Rules under one key; see rules.toml."""

    level: int
    title: str
    file: str = ""
    cis_debian12: tuple[str, ...] = ()
    cis_debian13: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    """More fields of the rules about programs."""
    syscalls: tuple[Syscalls, ...] = ()
    devices: bool = False
    models: bool = False
    privileged: bool = False


@dataclass(frozen=True)
class Found:
    """What a node has that rules can be about."""

    syscalls: Mapping[str, frozenset[str]]
    """By what audit calls an architecture: b64, b32; those that the kernel runs."""
    watchable: frozenset[str]
    """Paths that lie in a directory that exists."""
    programs: Mapping[str, str]
    """Programs that exist, to where their links lead."""
    devices: tuple[str, ...] = ()
    """Nodes and directories of accelerators and fabrics below /dev."""
    models: tuple[str, ...] = ()
    """Directories of models that exist."""
    privileged: tuple[str, ...] = ()
    """Programs with setuid or setgid."""
    users: tuple[int, ...] = ()
    """Who is expected to open devices."""
    groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rules:
    """The rules of one node, by key, in the order in which they are written."""

    by_key: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """All of them."""
        return [line for lines in self.by_key.values() for line in lines]

    @property
    def by_file(self) -> Mapping[str, tuple[str, ...]]:
        """Lines of each file in rules.d, with a comment before each group."""
        files: dict[str, list[str]] = {}
        for key, lines in self.by_key.items():
            group = groups()[key]
            name = group.file or ("30-system" if group.level < STRICT else "50-strict")
            files.setdefault(name, []).extend([f"# {group.title}", *lines])
        return {name: tuple(lines) for name, lines in sorted(files.items())}


@cache
def groups() -> Mapping[str, Group]:
    """Return the table, by key."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["groups"]
    return {key: Group.model_validate(row) for key, row in rows.items()}


def wanted(level: int, found: Found) -> Rules:
    """Return the rules of a node at this level; a group that has none there is left out."""
    rows = {key: one for key, one in groups().items() if one.level <= level}
    made = {key: tuple(dict.fromkeys(_lines(key, one, level, found))) for key, one in rows.items()}
    return Rules({key: lines for key, lines in made.items() if lines})


def candidates(level: int) -> tuple[list[str], list[str]]:
    """Return the paths and the programs that a node is asked about."""
    rows = [one for one in groups().values() if one.level <= level]
    paths = [path for one in rows for path in (*one.watch, *one.trees)]
    return paths, [path for one in rows for path in one.programs]


def _lines(key: str, group: Group, level: int, found: Found) -> Iterator[str]:
    for path in group.watch:
        if path in found.watchable:
            yield f"-w {path} -p wa -k {key}"
    for path in group.trees:
        if path in found.watchable:
            yield _rule([f"dir={path}", "perm=wa", *PEOPLE], key)
    for name in group.programs:
        if name in found.programs:
            path = found.programs[name]
            yield _rule([f"path={path}", "perm=x", *group.fields, *PEOPLE], key)
    for calls in group.syscalls:
        yield from _calls(key, calls, level, found.syscalls)
    if group.privileged:
        for path in found.privileged:
            yield _rule([f"path={path}", "perm=x", *PEOPLE], key)
    if group.models:
        for path in found.models:
            yield f"-w {path} -p {'rwa' if level >= STRICT else 'wa'} -k {key}"
    if group.devices:
        yield from _devices(key, found)


def _calls(
    key: str, calls: Syscalls, level: int, known: Mapping[str, frozenset[str]]
) -> Iterator[str]:
    people = calls.people and not (calls.strict_everybody and level >= STRICT)
    for arch, names in known.items():
        usable = [name for name in calls.names if name in names]
        if usable:
            compare = [f"-C {calls.compare}"] if calls.compare else []
            fields = [f"-F {one}" for one in (*calls.fields, *(PEOPLE if people else ()))]
            words = [f"-F arch={arch}", f"-S {','.join(usable)}", *compare, *fields]
            yield f"-a always,exit {' '.join(words)} -k {key}"


def _devices(key: str, found: Found) -> Iterator[str]:
    """Root and its daemons are expected; so are users, also under another identity, and groups.

    The kernel looks through supplementary groups, too, where a rule names a group.
    """
    expected = ["uid!=0"]
    expected += [f"{kind}!={user}" for user in found.users for kind in ("uid", "auid")]
    expected += [f"gid!={group}" for group in found.groups]
    for path in found.devices:
        kind = "dir" if path.endswith("/") else "path"
        yield _rule([f"{kind}={path.rstrip('/')}", "perm=rw", *expected], key)


def _rule(fields: Sequence[str], key: str) -> str:
    return f"-a always,exit {' '.join(f'-F {one}' for one in fields)} -k {key}"


# When two rules say the same

Same = frozenset[tuple[str, ...]]
_UNSET = ("-1", "4294967295", "unset")


def same(line: str) -> Same | None:
    """Return what a rule says, whoever wrote it so; nothing for a line that is no rule.

    auditctl lists rules otherwise than it takes them: fields in another order, numbers for names,
    and a watch for any rule that only watches.
    """
    words = line.split()
    if not words or words[0] not in ("-a", "-A", "-w"):
        return None
    said: set[tuple[str, ...]] = set()
    for option, value in zip(words[::2], words[1::2], strict=False):
        said |= _said(option, value)
    if any(one[0] == "perm" for one in said):  # it says which system calls
        said = {one for one in said if one[0] != "syscall"}
    return frozenset(said)


def _said(option: str, value: str) -> set[tuple[str, ...]]:
    if option in ("-a", "-A"):
        usual = {"always", "exit"} == set(value.split(","))
        return set() if usual else {("action", *sorted(value.split(",")))}
    if option == "-w":
        return {("watch", value.rstrip("/"))}
    if option == "-p":
        return {("perm", *sorted(value))}
    if option == "-k":
        return {("key", value)}
    if option == "-S":
        return {("syscall", name) for name in value.split(",") if name != "all"}
    if option == "-C":
        one, operator, other = _split(value)
        return {("compare", operator, *sorted((one, other)))}
    return {_field(*_split(value))}


def _field(name: str, operator: str, value: str) -> tuple[str, ...]:
    if name in ("path", "dir"):
        return ("watch", value.rstrip("/"))
    if name == "perm":
        return ("perm", *sorted(value))
    if name == "key":
        return ("key", value)
    if name in ("auid", "uid") and value in _UNSET:
        value = "unset"
    elif value.lower().startswith("0x"):
        value = str(int(value, 16))
    return (name, operator, value)


def _split(text: str) -> tuple[str, str, str]:
    for operator in ("!=", ">=", "<=", "&=", "=", ">", "<", "&"):
        name, found, value = text.partition(operator)
        if found:
            return name, operator, value
    return text, "", ""


def missing(lines: Collection[str], loaded: Collection[str]) -> list[str]:
    """Return the rules among `lines` that are not loaded."""
    there = {same(line) for line in loaded}
    return [line for line in lines if same(line) is not None and same(line) not in there]
