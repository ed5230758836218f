"""Where labs and images are kept, and how their state is read, written and locked."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LAB_VARIABLE = "NODEPROOF_LAB_DIR"
CACHE_VARIABLE = "NODEPROOF_CACHE_DIR"
FORMAT = 1


def labs_dir() -> Path:
    """Return the folder of all labs."""
    if chosen := os.environ.get(LAB_VARIABLE):
        return Path(chosen).absolute()
    return _xdg("XDG_STATE_HOME", ".local/state") / "nodeproof" / "lab"


def cache_dir() -> Path:
    """Return the folder of what can be built again: images and verdicts."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).absolute()
    return _xdg("XDG_CACHE_HOME", ".cache") / "nodeproof"


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in ``path``, or an empty one where the file does not exist.

    Raises ValueError where the file holds anything but an object.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace ``path`` in one step: a reader sees the old state or the new one."""
    write_private(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_private(path: Path, content: str | bytes) -> None:
    """Replace ``path`` in one step with a file only its owner can read."""
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, waiting for whoever has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    # The XDG specification: a relative path is invalid and is ignored.
    return Path(value) if value.startswith("/") else Path.home() / default
