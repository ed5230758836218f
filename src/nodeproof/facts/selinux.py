"""SELinux booleans, as the kernel has them and as the policy's store keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

LIVE = "/sys/fs/selinux/booleans"
"""A file for each boolean of the policy that is loaded: its value, and the one that is pending."""
_LOOK = (
    f"[ -d {LIVE} ] || exit 0; "
    "p=$(sed -n 's/^SELINUXTYPE=//p' /etc/selinux/config | tail -n 1); "
    'echo "policy $p"; '
    'for f in /etc/selinux/"$p"/policy/policy.*; do [ ! -f "$f" ] || echo "file $f"; done; '
    f'for name; do f={LIVE}/$name; [ ! -e "$f" ] || echo "live $name $(cut -c 1 "$f")"; '
    'f=/var/lib/selinux/"$p"/active/booleans.local; '
    '[ ! -e "$f" ] || sed -n "s/^$name=\\([01]\\)\\$/kept $name \\1/p" "$f"; done'
)


@dataclass(frozen=True)
class BooleansData:
    """What a policy says; `policy` is empty where SELinux is off."""

    policy: str = ""
    """The policy's name: default, targeted..."""
    files: tuple[str, ...] = ()
    """Its compiled forms, which the next boot loads the last one of."""
    live: dict[str, bool] = field(default_factory=dict)
    """What the kernel has; a name is missing where the policy has no such boolean."""
    kept: dict[str, bool] = field(default_factory=dict)
    """What somebody decided for good; a name is missing where the policy's own value counts."""


class Booleans(FactBase[BooleansData]):
    """
    Some of the booleans.

    .. code:: python

        BooleansData(policy="default", live={"container_use_dri": False}, kept={}, files=(...))
    """

    called = "SELinux booleans"

    @override
    def command(self, names: str) -> StringCommand:
        """Return a script that prints a line for each thing; `names` have commas between them."""
        each = (QuoteString(name) for name in names.split(","))
        return StringCommand("sh", "-c", QuoteString(_LOOK), "sh", *each)

    @staticmethod
    @override
    def default() -> BooleansData:
        """Return that SELinux is off."""
        return BooleansData()

    @override
    def process(self, output: list[str]) -> BooleansData:
        """Parse ``word rest`` lines; what is no such line says nothing."""
        said: dict[str, list[str]] = {"policy": [], "file": [], "live": [], "kept": []}
        for line in output:
            word, _, rest = line.partition(" ")
            said.get(word, []).append(rest)
        live, kept = (
            {name: value == "1" for name, _, value in map(_parted, said[word])}
            for word in ("live", "kept")
        )
        return BooleansData("".join(said["policy"][:1]), tuple(said["file"]), live, kept)


def _parted(text: str) -> tuple[str, str, str]:
    return text.partition(" ")
