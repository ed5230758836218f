"""AppArmor profiles as the kernel has them."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

KERNEL = "/sys/kernel/security/apparmor"


@dataclass(frozen=True)
class AppArmorProfileData:
    """One profile."""

    mode: str = ""
    """enforce, complain, kill or unconfined; empty where the kernel does not have it."""
    current: bool = False
    """Whether the kernel holds, byte for byte, what its file compiles to now."""


class AppArmorProfile(FactBase[AppArmorProfileData]):
    """
    One profile, in the kernel and compared with its file.

    .. code:: python

        AppArmorProfileData(mode="enforce", current=True)
    """

    called = "AppArmor profile {profile}"

    @override
    def command(self, profile: str, path: str) -> StringCommand:
        """Return a script that prints the mode, and whether it is current."""
        script = (
            f"[ -r {KERNEL}/profiles ] || exit 0; "
            'while IFS= read -r line; do case $line in "$1 ("*) line=${line##*\\(}; '
            f'echo "mode ${{line%)}}";; esac; done <{KERNEL}/profiles; [ -f "$2" ] || exit 0; '
            f'for d in {KERNEL}/policy/profiles/"$1".[0-9]*; do '
            'apparmor_parser -Q -K -S -- "$2" 2>/dev/null | cmp -s - "$d/raw_data" '
            "&& echo current; done; true"
        )
        return StringCommand(
            "sh", "-c", QuoteString(script), "sh", QuoteString(profile), QuoteString(path)
        )

    @staticmethod
    @override
    def default() -> AppArmorProfileData:
        """Return a profile that the kernel does not have."""
        return AppArmorProfileData()

    @override
    def process(self, output: list[str]) -> AppArmorProfileData:
        """Parse both lines."""
        modes = [line.removeprefix("mode ") for line in output if line.startswith("mode ")]
        return AppArmorProfileData(modes[0] if modes else "", "current" in output)
