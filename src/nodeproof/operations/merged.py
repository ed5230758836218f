"""Manage our part of a file that others write, too."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from pyinfra import host
from pyinfra.api import FileUploadCommand, OperationValueError, QuoteString, operation

from nodeproof import merging
from nodeproof.facts.files import FileState, FileStateData
from nodeproof.operations import journal
from nodeproof.operations.files import Upload, installed
from nodeproof.operations.journal import Change

_PRIVATE = re.compile(r"://[^/\s\"']*:[^/\s\"']*@|passw|secret|token|auth", re.IGNORECASE)
"""What a diff must not show: somebody else's part of the file may hold it."""


@operation()
def file(
    path: str,
    form: merging.Format,
    values: Mapping[str, Any],
    usual: Mapping[str, Any] | None = None,
    former: str = "",
    replace: bool = False,
    advice: str = "change one of the two",
    validate: Sequence[str] = (),
    notify: str | None = None,
) -> Generator[FileUploadCommand | Change]:
    """
    Make a file say these values among what others wrote into it; refuse where it says otherwise.

    What was put there is remembered on the node: it follows the values, and goes with them. Owner
    and mode of a file that exists stay. See nodeproof.merging for how tables and lists are merged.

    + path: where
    + form: json or toml
    + values: tables, lists and plain values that the file must have
    + usual: values that nobody chose, e.g. the package's; they give way, and come back
    + former: pattern of the whole file as an earlier nodeproof wrote it, all of it ours
    + replace: let the file's values give way where they are others
    + advice: what to do about a conflict, as the error says it
    + validate: command that accepts the new file, with ``%s`` for its path
    + notify: unit that must be told; remembered on the node until it was (see systemd.told)

    **Example:**

    .. code:: python

        merged.file(name="Merge Docker's settings", path="/etc/docker/daemon.json", form="json",
                    values={"features": {"cdi": True}}, notify="docker.service")
    """

    now = _read(path)
    note = remembered(path)
    noted = _read(note)
    text = now.text if now else ""
    ours = _noted(note, noted, text, form, former)
    try:
        new = merging.merge(text, form, values, ours=ours, usual=usual, replace=replace)
    except merging.UnreadableError as error:
        raise OperationValueError(f"merged.file: {path} {error}; mend it by hand") from error
    except merging.ConflictError as error:
        raise OperationValueError(f"merged.file: {path}: {error}; {advice}") from error
    ours_now = _note(new.ours)
    same = new.text == text
    if same and (noted is None or noted.text == ours_now):
        host.noop(f"{path} is as asked")
        return
    if ours_now and (noted is None or noted.text != ours_now):
        # Before the file: of what is not in the file yet, nothing is taken for somebody else's.
        yield Upload(ours_now.encode(), note)
        yield installed(note, "600", "root", "root", (), None)
    if not same:
        yield Upload(new.text.encode(), path, secret=bool(_PRIVATE.search(text)))
        owner = (now.mode, now.user, now.group) if now else ("644", "root", "root")
        yield installed(path, *owner, validate, notify)
    if noted is not None and not ours_now:
        yield Change("rm", "-f", "--", QuoteString(note), touches=[journal.file(note)])


def remembered(path: str) -> str:
    """Return where a node keeps what merges put into a file."""
    return f"{journal.HOME}/merged.{quote(path, safe='')}"


def _read(path: str) -> FileStateData | None:
    if not path.startswith("/"):
        raise OperationValueError(f"merged.file: {path} is not an absolute path")
    now: FileStateData | None = host.get_fact(FileState, path=path)
    if now is not None and now.kind != "file":
        what = {"large": "too large to be read", "link": "a link", "directory": "a directory"}
        raise OperationValueError(
            f"merged.file: {path} is {what.get(now.kind, 'no file')}; only a file is merged"
        )
    return now


def _noted(
    note: str, noted: FileStateData | None, text: str, form: merging.Format, former: str
) -> dict[str, Any]:
    """Return what earlier merges put into the file."""
    try:
        if noted is None:
            return merging.parsed(text, form) if former and re.fullmatch(former, text) else {}
        return merging.parsed(noted.text, "json")
    except merging.UnreadableError as error:
        raise OperationValueError(
            f"merged.file: {note} {error}; remove it, and all in the file counts as others'"
        ) from error


def _note(ours: Mapping[str, Any]) -> str:
    return json.dumps(ours, indent=1, sort_keys=True) + "\n" if ours else ""
