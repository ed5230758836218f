"""A new kernel is booted once; only when it has come up well does it become the default.

GRUB forgets `next_entry` as it reads it, so whatever happens afterwards, the next boot takes
`saved_entry`: the kernel that ran before. What `saved_entry` was is kept beside it in grubenv, so
that an apply that is interrupted in between is made good by the next one.
"""

from __future__ import annotations

import shlex

from nodeproof.engine.adapter.session import Session
from nodeproof.errors import NodeproofError
from nodeproof.facts.boot import BEFORE, TRYING, BootData, Loader

NO_PANIC = (
    "a kernel that panics stays down: with panic=SECONDS on the kernel command line it would "
    "return to the old one by itself"
)


def why_not(boot: BootData) -> str:
    """Return why the new kernel cannot be booted once only; empty where it can."""
    grub = boot.grub
    if boot.loader is not Loader.GRUB or grub is None:
        return "the boot loader is not GRUB"
    if not grub.menu.saved:
        return "GRUB_DEFAULT is not saved"
    if grub.environment is None or not grub.editor:
        return "there is no grubenv, or nothing to write it with"
    if grub.environment.get("next_entry"):
        return "somebody has chosen the next boot already"
    if not grub.writes:
        return f"GRUB cannot write on {grub.kept_on or 'its file system'}"
    if not boot.entry(boot.running) or not boot.entry(boot.next):
        return f"GRUB's menu does not have both {boot.running} and {boot.next}"
    return ""


def arrange(session: Session, boot: BootData) -> list[str]:
    """Have another kernel than the running one booted once; return what is to be said of it."""
    if not boot.next or boot.next == boot.running:
        return []
    if reason := why_not(boot):
        return [f"no automatic return to kernel {boot.running}: {reason}"]
    assert boot.grub is not None  # noqa: S101 - why_not() has looked
    old, new = boot.entry(boot.running), boot.entry(boot.next)
    was = boot.grub.environment or {}
    values = {
        "saved_entry": old.name if old else "",
        "next_entry": new.name if new else "",
        TRYING: boot.next,
        BEFORE: was.get(BEFORE, was.get("saved_entry", "")),
    }
    _edit(session, boot, "set", *(f"{key}={value}" for key, value in values.items()))
    note = f"{boot.next} is booted once only: {boot.running} is the default until it is up"
    return [note] if "panic=" in boot.cmdline else [note, NO_PANIC]


def settle(session: Session, boot: BootData) -> None:
    """After a good boot of the kernel that was tried, put the default back to what it was."""
    if not boot.tried or boot.tried != boot.running or boot.grub is None:
        return
    before = (boot.grub.environment or {}).get(BEFORE, "")
    if before:
        _edit(session, boot, "set", f"saved_entry={before}")
    _edit(session, boot, "unset", TRYING, BEFORE, *(() if before else ("saved_entry",)))


def _edit(session: Session, boot: BootData, *words: str) -> None:
    assert boot.grub is not None  # noqa: S101 - callers have looked
    argv = [boot.grub.editor, f"{boot.grub.folder}/grubenv", *words]
    code, _, err = session.execute(shlex.join(argv))
    if code:
        said = " ".join(err.decode(errors="replace").split())
        raise NodeproofError(f"{session.host.name}: {boot.grub.editor} {words[0]}: {said or code}")
