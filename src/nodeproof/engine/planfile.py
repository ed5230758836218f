"""A saved plan: what was foreseen on each node, to be applied as it was read or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nodeproof.engine.fingerprint import Fingerprint
from nodeproof.engine.result import NodeStatus, Result
from nodeproof.errors import UsageError

SCHEMA: Literal["nodeproof/plan/2"] = "nodeproof/plan/2"


class SavedPlan(BaseModel):
    """The file's content; the plan itself is in it for people to read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_version: Literal["nodeproof/plan/2"] = Field(SCHEMA, alias="schema")
    inventory: str
    layers: tuple[str, ...]
    nodes: dict[str, Fingerprint]
    """Host to what its plan rests on."""
    plan: Result


def save(
    path: Path, result: Result, layers: tuple[str, ...], rests_on: Mapping[str, Fingerprint]
) -> SavedPlan:
    """Write a plan file, readable by its owner only; raises UsageError where it cannot.

    Only nodes that have a plan are in it.
    """
    planned = [node for node in result.nodes if node.status in (NodeStatus.PENDING, NodeStatus.OK)]
    source = Path(result.inventory)
    saved = SavedPlan(
        inventory=str(source.resolve()) if source.exists() else result.inventory,
        layers=layers,
        nodes={node.name: rests_on[node.name] for node in planned},
        plan=result,
    )
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)  # also of a file that was there
            file.write(saved.model_dump_json(by_alias=True, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    return saved


def is_plan(path: str) -> bool:
    """Tell whether an argument names a saved plan rather than an inventory."""
    file = Path(path)
    if not file.is_file() or file.suffix == ".py":
        return False
    with file.open("rb") as opened:
        return opened.read(1) == b"{"


def load(path: str) -> SavedPlan:
    """Read a plan file; raises UsageError."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        found = content.get("schema") if isinstance(content, dict) else None
        if isinstance(found, str) and found != SCHEMA:
            raise ValueError(f"it is {found}, and {SCHEMA} is wanted")
        return SavedPlan.model_validate(content)
    except (OSError, ValueError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UsageError(
            f"{path}: not a plan of this version: {' '.join(first.split())}",
            hint="make it again: nodeproof plan INVENTORY --out FILE",
        ) from error
