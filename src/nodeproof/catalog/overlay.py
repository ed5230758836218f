"""What a user adds to the catalog: bundles in a folder of their own, never in the package."""

from __future__ import annotations

import os
from pathlib import Path

from nodeproof.catalog.whole import Catalog, bundle, folder, merged

VARIABLE = "NODEPROOF_CATALOG_DIR"


def own_folder() -> Path:
    """Return the folder of the user's bundles; it need not exist."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).absolute()
    config = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification: a relative path is invalid and is ignored.
    home = Path(config) if config.startswith("/") else Path.home() / ".config"
    return home / "nodeproof" / "catalog"


def bundles() -> list[Path]:
    """Return the user's bundles, in the order in which they are laid over the catalog."""
    return sorted(own_folder().glob("*.toml"))


def current(*added: str) -> Catalog:
    """Return the catalog with the user's bundles, and with texts that are not kept yet.

    Raises UsageError for what is no bundle.
    """
    own = [bundle(path.read_text(encoding="utf-8"), path) for path in bundles()]
    return merged(folder(), *own, *(bundle(text, "the update") for text in added))
