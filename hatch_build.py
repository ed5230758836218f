"""Ship templates, deploys and inventories in the package; leave editable installs alone."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHIPPED = ("templates", "deploys", "inventories")


class ShipData(BuildHookInterface):  # type: ignore[type-arg]
    """Map the top-level data folders to nodeproof/<folder> in a real wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders, unless this is an editable build (it would copy them, stale)."""
        if version != "editable":
            build_data["force_include"].update({name: f"nodeproof/{name}" for name in SHIPPED})
