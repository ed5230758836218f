"""Manage the profiles that PAM's common stacks are made of."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping

from pyinfra import host
from pyinfra.api import FileUploadCommand, OperationValueError, QuoteString, operation

from nodeproof.facts.files import FileState, FileStateData
from nodeproof.facts.pam import SAVED, STACK, TYPES, Pam, PamStacks
from nodeproof.operations import files, journal
from nodeproof.operations.files import Upload, installed
from nodeproof.operations.journal import Change

FOLDER = "/usr/share/pam-configs"
WRITTEN = (
    *(form.format(kind) for kind in TYPES for form in (STACK, SAVED)),
    SAVED.format("seen"),
)
"""What pam-auth-update(8) writes; packages of modules run it, too."""
_NAME = re.compile(r"[a-z][a-z0-9-]*")
# It says that it changes nothing, and leaves with 0.
_ENABLE = "said=$(LC_ALL=C DEBIAN_FRONTEND=noninteractive pam-auth-update --enable"
_ENABLED = '2>&1) && case $said in *"not updating"*) printf "%s\\n" "$said" >&2; false ;; esac'


@operation()
def profiles(profiles: Mapping[str, str]) -> Generator[FileUploadCommand | Change]:
    """
    Make the common stacks hold these profiles as they are written, by pam-auth-update(8).

    Refused where somebody wrote lines into the stacks by hand: pam-auth-update would not touch
    them, and to force it would lose them. Options that were added by hand stay.

    + profiles: names to texts, for ``/usr/share/pam-configs``

    **Example:**

    .. code:: python

        pam.profiles(name="Lock after wrong passwords", profiles={"nodeproof-faillock": "..."})
    """

    stacks: PamStacks = host.get_fact(Pam)
    if stacks.edited:
        raise OperationValueError(
            f"pam.profiles: {'; '.join(stacks.edited)}; move what was written by hand to a "
            f"profile in {FOLDER}, then run pam-auth-update --force"
        )
    wrong = False
    for name, text in profiles.items():
        if not _NAME.fullmatch(name):
            raise OperationValueError(f"pam.profiles: {name!r} is no name of a profile")
        path = f"{FOLDER}/{name}"
        now: FileStateData | None = host.get_fact(FileState, path=path)
        if now is None or now.text != text or now.mode != "644":
            yield Upload(text.encode(), path)
            yield installed(path, "644", "root", "root", (), None)
        wrong = wrong or not written(stacks, name, text)
    if not wrong:
        host.noop("the stacks hold these profiles")
        return
    names = [QuoteString(name) for name in profiles]
    yield Change(_ENABLE, *names, _ENABLED, touches=[journal.file(path) for path in WRITTEN])


@operation()
def without(kind: str, module: str, option: str) -> Generator[FileUploadCommand | Change]:
    """
    Make a module in a common stack lack an option; pam-auth-update(8) keeps it so.

    + kind: auth, account, password, session or session-noninteractive
    + module: its file name
    + option: the option

    **Example:**

    .. code:: python

        pam.without(name="Refuse empty passwords", kind="auth", module="pam_unix.so",
                    option="nullok")
    """

    path = STACK.format(kind)
    now: FileStateData | None = host.get_fact(FileState, path=path)
    if now is None or now.kind != "file":
        raise OperationValueError(f"pam.without: there is no {path} of pam-auth-update")
    line = re.compile(rf"(?m)^([^#\n]*\b{re.escape(module)}\b.*?)[ \t]+{re.escape(option)}(?!\S)")
    yield from files.content._inner(
        path=path, text=line.sub(r"\1", now.text), mode=now.mode, user=now.user, group=now.group
    )


def written(stacks: PamStacks, name: str, text: str) -> bool:
    """Tell whether the stacks hold a profile as its text says."""
    return all(
        stacks.profiles.get(kind, {}).get(name, ()) == lines for kind, lines in _lines(text).items()
    )


def _lines(text: str) -> dict[str, tuple[str, ...]]:
    """Return the lines that a profile has for each type; ``Auth-Type`` and its like say no line."""
    found: dict[str, list[str]] = {}
    now = ""
    for line in text.splitlines():
        if head := re.match(r"(Auth|Account|Password|Session):$", line):
            now = head[1].lower()
            found[now] = []
        elif line.startswith((" ", "\t")) and now:
            found[now].append(line.strip())
        else:
            now = ""
    return {kind: tuple(lines) for kind, lines in found.items()}
