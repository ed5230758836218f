"""Where results are kept, how they are written, and how they are found again."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from nodeproof.engine.result import SCHEMA, Command, Result
from nodeproof.errors import NodeproofError, UsageError
from nodeproof.settings.problems import nearest, shown

STATE_VARIABLE = "NODEPROOF_STATE_DIR"
LATEST = "latest"
_RUN = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]*")


def results_dir() -> Path:
    """Return the folder of all kept results; it need not exist."""
    if chosen := os.environ.get(STATE_VARIABLE):
        return Path(chosen).absolute() / "results"
    state = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is invalid and is ignored.
    home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return home / "nodeproof" / "results"


def runs() -> list[str]:
    """Return the ids of all kept runs, oldest first."""
    return sorted(path.stem for path in results_dir().glob("*.json"))


def kept(beginning: str, *commands: Command, most: int = 50) -> list[Result]:
    """Return results of these commands whose ids begin so, the newest first, of the newest few.

    Files that cannot be read are left out.
    """
    found = []
    for run in [run for run in reversed(runs()) if run.startswith(beginning)][:most]:
        with suppress(UsageError):
            found.append(read(results_dir() / f"{run}.json"))
    return [result for result in found if result.command in commands]


def save(result: Result) -> Path:
    """Keep a result where only its owner can read it, in one step; return its path.

    Raises NodeproofError where it cannot be written.
    """
    if not _RUN.fullmatch(result.run):
        raise ValueError(f"{result.run!r} is not the id of a run")
    folder = results_dir()
    path = folder / f"{result.run}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        _replace(path, result.model_dump_json(by_alias=True, indent=2) + "\n")
    except OSError as error:
        raise NodeproofError(
            f"{path}: the result could not be kept: {error.strerror}",
            hint=f"make room or set {STATE_VARIABLE} to a folder you may write to",
        ) from error
    return path


def load(which: str | Path = LATEST, command: Command | None = None) -> Result:
    """Return a kept result: by run id, by path, or the latest one (of `command`, where given).

    Raises UsageError, which says what there is instead.
    """
    if which == LATEST:
        return _latest(command)
    kept = results_dir() / f"{which}.json"
    if isinstance(which, str) and which in runs():
        return read(kept)
    path = Path(which)
    if isinstance(which, Path) or "/" in which or path.suffix == ".json" or path.is_file():
        return read(path)
    raise _unknown(which)


def read(path: Path) -> Result:
    """Return the result in a file; raises UsageError where there is none that can be read."""
    try:
        document = from_json(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", hint="name a run, a result's file, or `latest`"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{path}: not readable as JSON: {error}",
            hint="the file is damaged; remove it, and run the command again for a new one",
        ) from error
    return _checked(path, document)


def _checked(path: Path, document: Any) -> Result:
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema is None:
        raise UsageError(f"{path}: not a nodeproof result", hint="it has no schema's name in it")
    if schema != SCHEMA:
        raise UsageError(
            f"{path}: has the schema {shown(schema)}; {SCHEMA!r} is needed",
            hint=f"read it with the nodeproof that made it ({document.get('version', 'unknown')})",
        )
    try:
        return Result.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{path}: not a {SCHEMA} result: {where}: {first['msg']}",
            hint="the file was changed by hand or made by another version",
        ) from error


def _latest(command: Command | None) -> Result:
    for run in reversed(runs()):
        result = read(results_dir() / f"{run}.json")
        if command is None or result.command is command:
            return result
    wanted = f" of `{command}`" if command else ""
    example = command or Command.VERIFY
    raise UsageError(
        f"results: none{wanted} in {results_dir()} yet",
        hint=f"run `nodeproof {example} INVENTORY` first",
    )


def _unknown(run: str) -> UsageError:
    known = runs()
    if not known:
        hint = f"no results are kept in {results_dir()} yet"
    elif near := nearest(run, known):
        hint = f"did you mean {near}?"
    else:
        hint = f"the latest of {len(known)} is {known[-1]}"
    return UsageError(f"{run}: unknown run", hint=hint)


def _replace(path: Path, text: str) -> None:
    """Replace a file in one step; a reader sees the old one or the new one, even after a crash."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
