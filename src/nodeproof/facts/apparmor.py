"""AppArmor profiles as the kernel has them."""

from __future__ import annotations

import re

from pyinfra.api import FactBase
from typing_extensions import override

PROFILES = "/sys/kernel/security/apparmor/profiles"


class AppArmorProfiles(FactBase[dict[str, str]]):
    """
    Loaded profiles with their mode (enforce, complain, kill, unconfined).

    .. code:: python

        {"nodeproof-workload": "enforce"}
    """

    default = dict

    @override
    def command(self) -> str:
        """Return a command that prints the kernel's own list."""
        return f"! test -e {PROFILES} || cat {PROFILES}"

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        """Parse ``name (mode)`` lines; names may hold spaces."""
        found = (re.fullmatch(r"(.+) \((\w+)\)", line) for line in output)
        return {match[1]: match[2] for match in found if match}
