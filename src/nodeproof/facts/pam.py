"""PAM's common stacks: the profiles in them, and what was written into them by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pyinfra.api import FactBase
from typing_extensions import override

TYPES = ("auth", "account", "password", "session", "session-noninteractive")
STACK, SAVED = "/etc/pam.d/common-{}", "/var/lib/pam/{}"
_COMMAND = (
    "for t in " + " ".join(TYPES) + "; do "
    'for f in "/var/lib/pam/$t" "/etc/pam.d/common-$t"; do '
    '[ ! -f "$f" ] || { echo "$f:"; sed "s/^/ /" -- "$f"; }; done; done; true'
)
_BLOCKS = (
    ('# here are the per-package modules (the "Primary" block)', "# here's the fallback"),
    (
        '# and here are more per-package modules (the "Additional" block)',
        "# end of pam-auth-update",
    ),
)
"""Between which comments pam-auth-update(8) keeps the lines of profiles."""
_JUMP = re.compile(r"=(\d+|end)\b")
"""The length of a jump follows from the lines after it."""


@dataclass(frozen=True)
class PamStacks:
    """What pam-auth-update last wrote, and what became of it."""

    profiles: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """By type of stack: each profile in it with its lines, as they were written."""
    edited: tuple[str, ...] = ()
    """Lines that no profile has, or files that cannot be read, each with its file."""


class Pam(FactBase[PamStacks]):
    """
    The stacks that services share, as pam-auth-update(8) keeps them.

    .. code:: python

        PamStacks(profiles={"auth": {"unix": ("[success=end default=ignore] pam_unix.so",)}})
    """

    called = "the common stacks of PAM"

    @staticmethod
    @override
    def default() -> PamStacks:
        """Return no stacks: none of the files is there."""
        return PamStacks(edited=("there is no /etc/pam.d/common-auth of pam-auth-update",))

    @override
    def command(self) -> str:
        """Return a command that prints each line behind its file's name."""
        return _COMMAND

    @override
    def process(self, output: list[str]) -> PamStacks:
        """Put the lines of each stack beside the profiles that they came from."""
        files: dict[str, list[str]] = {}
        name = ""
        for line in output:
            if line.startswith(" "):
                files[name].append(line[1:])
            else:
                name = line.removesuffix(":")
                files[name] = []
        profiles, edited = {}, []
        for kind in TYPES:
            stack, saved = STACK.format(kind), SAVED.format(kind)
            if stack not in files or saved not in files:
                edited.append(f"{stack}: is not of pam-auth-update")
                continue
            profiles[kind] = _saved(files[saved])
            edited += [f"{stack}: {why}" for why in _foreign(files[stack], profiles[kind], kind)]
        return PamStacks(profiles, tuple(edited))


def _saved(lines: list[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    module = ""
    for line in lines:
        if line.startswith("Module: "):
            module = line.removeprefix("Module: ")
            found.setdefault(module, ())
        elif line.strip():
            found[module] += (line.strip(),)
    return found


def _foreign(stack: list[str], profiles: dict[str, tuple[str, ...]], kind: str) -> list[str]:
    """Return the lines of a stack that no profile accounts for, as pam-auth-update compares them.

    It keeps options that were added, so a line counts by its control and module.
    """
    known = [_kept(line) for lines in profiles.values() for line in lines]
    wrong = []
    for begin, end in _BLOCKS:
        starts = [at for at, line in enumerate(stack) if line.startswith(begin)]
        ends = [at for at, line in enumerate(stack) if line.startswith(end)]
        if not starts or not ends or ends[0] < starts[0]:
            return [f"has no line {begin!r}"]
        for line in stack[starts[0] + 1 : ends[0]]:
            text = re.sub(rf"^{kind.partition('-')[0]}\s+", "", line)
            if _kept(text) in known:
                known.remove(_kept(text))
            elif _kept(text) != ("[default=1]", "pam_permit.so"):  # an empty block
                wrong.append(f"{line.strip()!r} is of no profile")
    return wrong


def _kept(line: str) -> tuple[str, ...]:
    """Return a line's control, without lengths of jumps, and its module."""
    match = re.match(r"(\[[^]]+\]|\w+)\s+(\S+)", line)
    return (_JUMP.sub("=", match[1]), match[2]) if match else (line,)
