"""The machine that a choice is for, as facts say what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from nodeproof.errors import UsageError
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.node import NodeFacts


class Machine(BaseModel):
    """Distribution and accelerators; whatever else facts hold is of no concern here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    os_id: str
    os_version: str
    os_name: str = ""
    accelerators: Accelerators

    @property
    def title(self) -> str:
        """The distribution as a person names it."""
        return self.os_name or f"{self.os_id} {self.os_version}".strip() or "an unnamed system"


def of_node(node: NodeFacts, has: Accelerators) -> Machine:
    """Return the machine that a node is."""
    return Machine(
        os_id=node.os_id, os_version=node.os_version, os_name=node.os_name, accelerators=has
    )


def machine(facts: Mapping[str, Any], named: str) -> Machine:
    """Return the machine that facts describe; raises UsageError for what is missing or wrong."""
    try:
        return Machine.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{named}: {where}: {first['msg']}",
            hint="facts are what `nodeproof inspect --json` prints of a node",
        ) from error
