"""What is kept about one machine between commands."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodeproof.errors import UsageError
from nodeproof.lab import store

FILE = "machine.json"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Spec:
    """One machine, as it was made. ``image`` is a folder; ``snapshots`` are tags on its disk."""

    name: str
    index: int
    ssh_port: int
    distribution: str
    preinstall: tuple[str, ...]
    cpus: int
    memory_mb: int
    image: str
    multicast: str
    snapshots: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write it into the machine's folder."""
        store.write_json(folder / FILE, {"format": store.FORMAT, **dataclasses.asdict(self)})


def load(folder: Path) -> Spec | None:
    """Return what is kept in a machine's folder, or None where none was finished there."""
    kept: dict[str, Any] = store.read_json(folder / FILE)
    if not kept:
        return None
    if kept.pop("format", None) != store.FORMAT:
        raise UsageError(
            f"{folder}: was made by another version of nodeproof",
            hint="Remove this folder and run `nodeproof lab up` again.",
        )
    for key in ("preinstall", "snapshots"):
        kept[key] = tuple(kept[key])
    return Spec(**kept)


def command(verb: str, lab: str, *words: str) -> str:
    """Return the command line that does ``verb`` for a lab, for hints."""
    named = [] if lab == "lab" else ["--name", lab]
    return " ".join(["nodeproof", "lab", verb, *named, *words])


def check_name(name: str, *, what: str) -> str:
    """Return ``name``, which must do as a hostname; raise UsageError where it does not."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{what}: {name!r} cannot be a name",
            hint="Use lower-case letters, digits and hyphens, 63 at most.",
        )
    return name
