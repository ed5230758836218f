"""Values in one form: what is equal, and differs only in what does not count, has one digest.

The same in every process; what is marked uncounted leaves no trace, and secrets neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from collections.abc import Set as AnySet
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any, get_type_hints

from pydantic import BaseModel, SecretBytes, SecretStr

from nodeproof.uncounted import Selective, Uncounted


def digest(value: Any) -> str:
    """Return a sha256 over the canonical form of a value."""
    text = json.dumps(canonical(value), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: Any) -> Any:
    """Return a value as JSON has it, the same for equal values; raises TypeError where it cannot.

    The order of dictionaries and sets, fields marked uncounted, and secrets do not count.
    """
    if value is None or type(value) in (str, bool, int, float):  # most are
        return value
    if isinstance(value, Enum):
        return canonical(value.value)
    if isinstance(value, (str, PurePath)):
        return str(value)
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, (SecretStr, SecretBytes)):
        return ["secret"]
    if isinstance(value, Selective):
        value = value.counted()
    if isinstance(value, BaseModel) or is_dataclass(value):
        return ["fields", _pairs(counted_fields(value))]
    if isinstance(value, Mapping):
        return ["items", _pairs(value)]
    if isinstance(value, AnySet):
        return ["set", sorted((canonical(one) for one in value), key=json.dumps)]
    if isinstance(value, (list, tuple)):
        return ["list", [canonical(one) for one in value]]
    raise TypeError(f"{type(value).__name__} has no canonical form")


def counted_fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass or model that count."""
    kind: Any = type(value)
    names = kind.model_fields if isinstance(value, BaseModel) else [f.name for f in fields(kind)]
    return {name: getattr(value, name) for name in names if name not in uncounted(kind)}


@cache
def uncounted(kind: type) -> Mapping[str, str]:
    """Return the fields of a class that do not count, each with the reason."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: mark.why
        for name, hint in hints.items()
        for mark in getattr(hint, "__metadata__", ())
        if isinstance(mark, Uncounted)
    }


def _pairs(items: Mapping[Any, Any]) -> list[Any]:
    if all(type(key) is str for key in items):  # thousands of packages; and keys differ
        return [[key, canonical(items[key])] for key in sorted(items)]
    return sorted(([canonical(k), canonical(v)] for k, v in items.items()), key=json.dumps)
