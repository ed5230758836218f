"""Make one drop-in decide: sshd takes the first value that it reads, wherever it stands."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FileUploadCommand, QuoteString, operation

from nodeproof.facts.files import FileState, FileStateData
from nodeproof.layers.ssh.facts import (
    INCLUDE,
    MAIN,
    Directive,
    LooseFiles,
    SshdFiles,
    directives,
)
from nodeproof.operations import files, journal
from nodeproof.operations.journal import Change

DISABLED = "# nodeproof: the drop-in decides: "
CUMULATIVE = frozenset({"allowusers", "allowgroups"})
"""Keys whose values add up over all files, so that every other place counts."""


@operation()
def decides(path: str, text: str, notify: str) -> Generator[FileUploadCommand | Change]:
    """
    Make a drop-in be read, and nothing before it or in ``Match all`` set what it sets.

    Lines elsewhere that would win are commented out, not removed. Other Match blocks are the
    site's own exceptions and stay.

    + path: the drop-in
    + text: its content
    + notify: unit that must be told

    **Example:**

    .. code:: python

        decides(name="Let the drop-in decide", path="/etc/ssh/sshd_config.d/10-nodeproof.conf",
                text="PermitRootLogin no", notify="ssh.service")
    """

    found: dict[str, str] = host.get_fact(SshdFiles)
    for name, wanted in rewritten({**found, path: text}, path).items():
        state: FileStateData | None = host.get_fact(FileState, path=name)
        mode = state.mode if state is not None else "644"
        yield from files.content._inner(path=name, text=wanted, mode=mode, notify=notify)


def rewritten(found: dict[str, str], path: str) -> dict[str, str]:
    """Return the files that must change so that the drop-in at `path` decides, with their text."""
    changed = {}
    main = found.get(MAIN, "")
    if not any(one.file == path for one in directives(found)):
        found = {**found, MAIN: f"{INCLUDE}\n{main}"}
    read = directives(found)
    ours = [one for one in read if one.file == path]
    first = read.index(ours[0]) if ours else 0
    keys = {one.key for one in ours}
    for name, text in found.items():
        lines = text.splitlines()
        for position, one in enumerate(read):
            if one.file == name != path and _wins(one, position < first, keys):
                lines[one.line] = DISABLED + lines[one.line]
        after = "".join(f"{line}\n" for line in lines)
        if name != path and (after != text or (name == MAIN and text != main)):
            changed[name] = after
    return changed


def _wins(one: Directive, earlier: bool, keys: set[str]) -> bool:
    """Tell whether a line elsewhere overrides the drop-in, or adds to it."""
    if one.key not in keys | CUMULATIVE or one.match not in ("", "all"):
        return False
    return earlier or one.match == "all" or one.key in CUMULATIVE


@operation()
def tight() -> Generator[Change]:
    """
    Make sshd's files root's, writable by nobody else, and host keys readable by nobody else.

    **Example:**

    .. code:: python

        tight(name="Keep sshd's files to root")
    """

    loose: list[str] = host.get_fact(LooseFiles)
    if not loose:
        host.noop("sshd's files are root's alone")
        return
    touches = [journal.file(path) for path in loose]
    names = [QuoteString(path) for path in loose]
    yield Change("chown", "root", "--", *names, touches=touches)
    yield Change("chmod", "go-w", "--", *names, touches=touches)
    if keys := [path for path in loose if path.endswith("_key")]:
        secret = [QuoteString(path) for path in keys]
        yield Change("chmod", "600", "--", *secret, touches=touches)
