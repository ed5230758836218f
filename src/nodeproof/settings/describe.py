"""Every key of every layer with type, default, unit and meaning, read from the models."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, StringConstraints
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from nodeproof.settings.types import allowed_by


@dataclass(frozen=True)
class Key:
    """One key, as `nodeproof settings` and the reference pages show it."""

    key: str
    type: str
    default: str
    unit: str
    meaning: str


def describe(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    """Yield the keys of a model, nested ones with their dotted names."""
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        key = f"{prefix}.{name}"
        yield Key(
            key, _type(field), _default(field), str(extra.get("unit", "")), field.description or ""
        )
        if (inner := _model_in(field.annotation)) is not None:
            below = f"{key}.NAME" if get_origin(_bare(field.annotation)) is dict else key
            yield from describe(inner, below)


def model_at(model: type[BaseModel], where: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the model that a location inside `model` points to."""
    at: type[BaseModel] | None = model
    parts = list(where)
    while parts and at is not None:
        field = at.model_fields.get(str(parts.pop(0)))
        if field is None:
            return None
        at = _model_in(field.annotation)
        if get_origin(_bare(field.annotation)) in (dict, list) and parts:
            parts.pop(0)
    return at


def _bare(annotation: Any) -> Any:
    """Strip Annotated and Optional."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [arg for arg in get_args(annotation) if arg is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _model_in(annotation: Any) -> type[BaseModel] | None:
    bare = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return bare
    for arg in reversed(get_args(bare)):
        if (found := _model_in(arg)) is not None:
            return found
    return None


def _type(field: FieldInfo) -> str:
    named = _named(field.annotation, field.metadata)
    limits = [
        f"{word} {getattr(limit, name)}"
        for limit in field.metadata
        for name, word in (("ge", "at least"), ("le", "at most"), ("min_length", "at least"))
        if getattr(limit, name, None) is not None and not isinstance(limit, StringConstraints)
    ]
    return named + (f" ({', '.join(limits)})" if limits else "")


def _named(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    for item in metadata:
        if isinstance(item, StringConstraints) and item.pattern is not None:
            return allowed_by(str(item.pattern))
    origin = get_origin(annotation)
    args = get_args(annotation)
    if origin is Annotated:
        return _named(args[0], args[1:])
    if origin in (Union, types.UnionType):
        return " or ".join("none" if arg is type(None) else _named(arg) for arg in args)
    if origin is Literal:
        return " | ".join(str(arg) for arg in args)
    if origin is list:
        return f"list of {_named(args[0])}"
    if origin is dict:
        return f"dictionary: {_named(args[0])} → {_named(args[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "dictionary"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " | ".join(str(member.value) for member in annotation)
    words = {"str": "text", "int": "whole number", "bool": "true or false", "float": "number"}
    return words.get(getattr(annotation, "__name__", ""), str(annotation))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "(must be given)"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, BaseModel):
        return "{}"
    return (
        {None: "none", True: "true", False: "false"}.get(value, "")
        if not isinstance(value, (list, dict, str, int)) or isinstance(value, bool)
        else str(value)
    )
