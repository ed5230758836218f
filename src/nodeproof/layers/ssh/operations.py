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
BEGIN = "# nodeproof: begin of what the drop-in decides, for those who read this file alone"
END = "# nodeproof: end of what the drop-in decides"
CUMULATIVE = frozenset({"allowusers", "allowgroups"})
"""Keys whose values add up over all files, so that every other place counts."""


@operation()
def decides(path: str, text: str, notify: str) -> Generator[FileUploadCommand | Change]:
    """
    Make a drop-in be read, and nothing before it or in ``Match all`` set what it sets.

    Lines elsewhere that would win are commented out, not removed. Other Match blocks are the
    site's own exceptions and stay. The main file repeats the drop-in behind the ``Include``: people
    and tools that read it alone see what holds.

    + path: the drop-in
    + text: its content
    + notify: unit that must be told

    **Example:**

    .. code:: python

        decides(name="Let the drop-in decide", path="/etc/ssh/sshd_config.d/10-nodeproof.conf",
                text="PermitRootLogin no", notify="ssh.service")
    """

    found: dict[str, str] = host.get_fact(SshdFiles)
    changed = rewritten({**found, path: text}, path)
    # Its mode is ours, too: a control that is taken back must not share a file with another.
    for name, wanted in {MAIN: found.get(MAIN, ""), **changed}.items():
        state: FileStateData | None = host.get_fact(FileState, path=name)
        mode = "600" if name == MAIN or state is None else state.mode
        yield from files.content._inner(path=name, text=wanted, mode=mode, notify=notify)


def rewritten(found: dict[str, str], path: str) -> dict[str, str]:
    """Return the files that must change so that the drop-in at `path` decides, with their text."""
    was = found
    # Read without what repeats the drop-in: that is written anew, and overrides nothing.
    found = {**found, MAIN: _unrepeated(found.get(MAIN, ""))}
    if not any(one.file == path and not one.match for one in directives(found)):
        found[MAIN] = f"{INCLUDE}\n{found[MAIN]}"
    read = directives(found)
    ours = [one for one in read if one.file == path]
    first = read.index(ours[0]) if ours else 0
    keys = {one.key for one in ours}
    after = dict(found)
    for name, text in found.items():
        lines = text.splitlines()
        for position, one in enumerate(read):
            if one.file == name != path and _wins(one, position < first, keys):
                lines[one.line] = DISABLED + lines[one.line]
        after[name] = "".join(f"{line}\n" for line in lines)
    after[MAIN] = _repeated(after[MAIN], found[path])
    return {name: text for name, text in after.items() if name != path and text != was.get(name)}


def _repeated(main: str, dropin: str) -> str:
    """Return the main file with what the drop-in says repeated behind the first global Include."""
    lines = main.splitlines()
    (at, *_) = (
        one.line
        for one in directives({MAIN: main})
        if one.key == "include" and not one.match and one.file == MAIN
    )
    said = [line for line in dropin.splitlines() if line and not line.startswith("#")]
    lines[at + 1 : at + 1] = [BEGIN, *said, END]
    return "".join(f"{line}\n" for line in lines)


def _unrepeated(main: str) -> str:
    """Return the main file without what `_repeated` put there."""
    lines = main.splitlines(keepends=True)
    marks = [line.rstrip("\n") for line in lines]
    if BEGIN in marks and END in marks[marks.index(BEGIN) :]:
        begin = marks.index(BEGIN)
        del lines[begin : marks.index(END, begin) + 1]
    return "".join(lines)


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
