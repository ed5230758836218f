"""The base of every layer's settings, and the one way to declare a key."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class LayerSettings(BaseModel):
    """What a user may ask of one layer; unknown keys and loose types are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=False
    )

    @field_validator("*", mode="after")
    @classmethod
    def _once(cls, value: Any) -> Any:
        """Refuse an entry that stands twice: one of the two was meant to be another."""
        for position, one in enumerate(value if isinstance(value, list) else ()):
            if one in value[:position]:
                raise ValueError(f"holds {one!r} twice")
        return value


def setting(default: Any, meaning: str, *, unit: str | None = None, **limits: Any) -> Any:
    """Declare one key: its default, what it means, its unit, and its limits (ge, le, min_length).

    Mutable defaults are copied by pydantic; pass ``...`` for a key that must be given.
    """
    extra: dict[str, Any] | None = {"unit": unit} if unit else None
    return Field(default, description=meaning, json_schema_extra=extra, **limits)
