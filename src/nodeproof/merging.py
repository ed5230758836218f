"""Merge settings into a configuration file that others write, too; JSON, or TOML with its comments.

Three sides meet: what the file says, what is wanted, and what earlier merges put there. Tables are
merged key by key, lists are sets. What an earlier merge put there follows what is wanted; what
somebody else put there stays, and where it says otherwise, the merge is refused.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import tomlkit
from tomlkit.exceptions import TOMLKitError

Format = Literal["json", "toml"]
Key = tuple[str, ...]
Values = Mapping[str, Any]

Edits = dict[Key, Any]
"""New values by key; _ABSENT where a key goes."""

_ABSENT: Any = object()


class UnreadableError(ValueError):
    """The file is not what its format says; the message says where."""


class ConflictError(ValueError):
    """The file says otherwise, for reasons of its own; the message names each key, both values."""


@dataclass(frozen=True)
class Merged:
    """A merged file."""

    text: str
    """The whole file; the very same text where nothing had to change."""
    ours: Values
    """What of it merges put there, this one and earlier ones."""


@dataclass
class _Merge:
    now: dict[str, Any]
    ours: Values
    replace: bool
    edits: Edits = field(default_factory=dict)
    keeps: dict[Key, Any] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)

    def want(self, key: Key, value: Any, usual: Any) -> None:
        """Make the file say `value`, which may take the place of `usual`."""
        has, was = get(self.now, key), get(self.ours, key)
        if has is not _ABSENT and isinstance(has, list) and isinstance(value, list):
            self._union(key, has, value, was)
        elif _same(has, value):
            if was is not _ABSENT:
                self.keeps[key] = value
        elif not isinstance(has, dict) and (
            self.replace or has is _ABSENT or was is not _ABSENT or _same(has, usual)
        ):
            self.edits[key] = self.keeps[key] = value
        else:
            self.conflicts.append(
                f"{_dotted(key)} is {shown(has)} there, and {shown(value)} is asked for"
            )

    def blocked(self, key: Key) -> bool:
        """Tell whether something that is no table stands where one must be; it is a conflict."""
        for length in range(1, len(key)):
            has = get(self.now, key[:length])
            if has is not _ABSENT and not isinstance(has, dict):
                said = f"{_dotted(key[:length])} is {shown(has)} there, and a table is asked for"
                self.conflicts += [said] if said not in self.conflicts else []
                return True
        return False

    def _union(self, key: Key, has: list[Any], value: list[Any], was: Any) -> None:
        mine = was if isinstance(was, list) else []
        new = [one for one in has if one not in mine or one in value]
        new += [one for one in value if one not in new]
        if new != has:
            self.edits[key] = new
        added = [one for one in value if one not in has or one in mine]
        if added or (was is not _ABSENT and not value):
            self.keeps[key] = added


def merge(
    text: str,
    form: Format,
    wanted: Values,
    *,
    ours: Values | None = None,
    usual: Values | None = None,
    replace: bool = False,
) -> Merged:
    """Return the text with what is wanted in it.

    `ours` is what earlier merges put there. `usual` are values that nobody chose, such as those of
    a package: they give way, and come back. With `replace` everything gives way. Raises
    UnreadableError and ConflictError.
    """
    usual, ours = usual or {}, ours or {}
    now, wants = parsed(text, form), dict(leaves(wanted))
    gone = _gone(now, ours, wants, usual)
    work = _Merge(_applied(now, gone), ours, replace)
    for key, value in wants.items():
        if not work.blocked(key):
            work.want(key, value, get(usual, key))
    if work.conflicts:
        raise ConflictError("; ".join(work.conflicts))
    # A table that holds values of its own must be made before the tables in it.
    edits = sorted(work.edits.items(), key=lambda edit: len(edit[0]))
    return Merged(_edited(text, form, now, [*gone.items(), *edits]), _nested(work.keeps))


def parsed(text: str, form: Format) -> dict[str, Any]:
    """Return what a file says; an empty one says nothing. Raises UnreadableError."""
    if not text.strip():
        return {}
    try:
        found = tomllib.loads(text) if form == "toml" else _json(text)
    except ValueError as error:
        raise UnreadableError(f"is no {form.upper()}: {error}") from error
    if not isinstance(found, dict):
        raise UnreadableError("holds no table of keys")
    return found


def leaves(values: Values, above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield each value that is no table, with its key; an empty table yields nothing."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name), value


def get(values: Any, key: Sequence[str]) -> Any:
    """Return what stands at a key; an object of its own where nothing does."""
    for name in key:
        if not isinstance(values, Mapping) or name not in values:
            return _ABSENT
        values = values[name]
    return values


def is_absent(value: Any) -> bool:
    """Tell whether `get` found nothing."""
    return value is _ABSENT


def shown(value: Any) -> str:
    """Return a value as an error names it."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _same(one: Any, other: Any) -> bool:
    """Compare; 1 is not true."""
    return type(one) is type(other) and bool(one == other)


def _dotted(key: Key) -> str:
    plain = re.compile(r"[A-Za-z0-9_-]+")
    return ".".join(part if plain.fullmatch(part) else f'"{part}"' for part in key)


def _json(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))} stands twice")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=once)


def _gone(now: Values, ours: Values, wants: Edits, usual: Values) -> Edits:
    """Return what takes back earlier merges, but for what somebody changed since."""
    edits: Edits = {}
    for key, was in leaves(ours):
        has = get(now, key)
        if key in wants or has is _ABSENT:
            continue
        if isinstance(has, list) and isinstance(was, list):
            left = [one for one in has if one not in was]
            if left != has or has == was:
                edits[key] = left or get(usual, key)
        elif _same(has, was):
            edits[key] = get(usual, key)
    return edits


def _applied(now: Values, edits: Edits) -> dict[str, Any]:
    values: dict[str, Any] = _copy(now)
    for key, value in edits.items():
        _edit(values, key, value)
    return values


def _edited(text: str, form: Format, now: Values, edits: Sequence[tuple[Key, Any]]) -> str:
    if not edits:
        return text
    wanted = _copy(now)
    document: Any = _document(text) if form == "toml" else wanted
    for key, value in edits:
        _edit(wanted, key, value)
        if document is not wanted:
            _edit(document, key, value)
    new = document.as_string() if form == "toml" else _written(wanted, text)
    if parsed(new, form) != wanted:
        raise UnreadableError("is laid out in a way that cannot be merged; nothing was changed")
    return new


def _copy(values: Any) -> Any:
    """Return a copy of tables and lists; what is in them is never changed."""
    if isinstance(values, dict):
        return {name: _copy(value) for name, value in values.items()}
    return list(values) if isinstance(values, list) else values


def _document(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise UnreadableError(f"is no TOML: {error}") from error


def _edit(document: Any, key: Key, value: Any) -> None:
    *above, name = key
    tables = [document]
    for depth, part in enumerate(above, 1):
        if part not in tables[-1]:
            if value is _ABSENT:
                return
            tables[-1][part] = _table(document, only_tables=depth < len(above))
        tables.append(tables[-1][part])
    if value is not _ABSENT:
        _put(tables[-1], name, value)
        return
    tables[-1].pop(name, None)
    for table, part in zip(reversed(tables[:-1]), reversed(above), strict=True):
        if table[part]:
            return
        table.pop(part)


def _table(document: Any, *, only_tables: bool) -> Any:
    is_toml = isinstance(document, tomlkit.TOMLDocument)
    return tomlkit.table(is_super_table=only_tables) if is_toml else {}


def _put(table: Any, name: str, value: Any) -> None:
    """Set a value; a list of TOML is changed in place, so that comments in it stay."""
    old = table.get(name)
    if not (isinstance(old, tomlkit.items.Array) and isinstance(value, list)):
        table[name] = _copy(value)
        return
    for one in [one for one in old.unwrap() if one not in value]:
        old.remove(one)
    for one in value:
        if one not in old.unwrap():
            old.append(one)


def _nested(flat: Mapping[Key, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for (*above, name), value in flat.items():
        table = tree
        for part in above:
            table = table.setdefault(part, {})
        table[name] = value
    return tree


def _written(values: Any, before: str) -> str:
    """Return JSON, indented as it was before."""
    found = re.search(r'\n([ \t]+)"', before)
    indent = found.group(1) if found else "  "
    return json.dumps(values, indent=indent, ensure_ascii=False) + "\n"
