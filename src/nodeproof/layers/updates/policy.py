"""What is written on a node about unattended upgrades; deploy and checks share it."""

from __future__ import annotations

import re
from collections.abc import Collection

from nodeproof.layers.updates.settings import Automatic, Kernels, Reboot, Settings
from nodeproof.updates.guard import PROGRAM, Guard

GUARD = Guard("updates", built=True)
"""No kernel comes for which what DKMS has built does not build."""
LISTS, UPGRADES = "apt-daily", "apt-daily-upgrade"
"""What fetches package lists, and what installs updates; a timer and a service each."""
KERNELS_APART = "/etc/apt/apt.conf.d/91nodeproof-updates-kernels"
"""Keeps kernels away from the rest; scripts/guard-kernels.sh knows it by its name."""
NOTED = "/var/lib/nodeproof/open-updates"
"""Since when each security update has been open; scripts/guard-pending.sh writes it."""


def pattern(package: str) -> str:
    """Return a regular expression for this package, as apt's configuration can have it."""
    return re.sub(r"[.+]", r"[\g<0>]", f"{package}$")


def left_alone(settings: Settings, held: Collection[str]) -> list[str]:
    """Return the patterns of packages that no unattended upgrade touches."""
    return [pattern(name) for name in sorted({*held, *settings.exclude})]


def calendar(window: str) -> tuple[str, int]:
    """Return when a window begins, as systemd writes it, and how many minutes it lasts."""
    days, _, times = window.rpartition(" ")
    begin, end = times.split("-")
    minutes = [int(time[:2]) * 60 + int(time[3:]) for time in (begin, end)]
    days = days.replace("-", "..")
    return f"{days} *-*-* {begin}:00".strip(), (minutes[1] - minutes[0]) % (24 * 60)


def afterwards(settings: Settings) -> list[str]:
    """Return the commands that follow an unattended upgrade."""
    commands = [f"{PROGRAM} kernels"] if settings.kernels is Kernels.PROVEN else []
    commands.append(f"{PROGRAM} pending")
    if settings.reboot is not Reboot.NEVER:
        words = [PROGRAM, "reboot", settings.drain_hook or "-"]
        if settings.reboot is Reboot.WINDOW and settings.window:
            begins, minutes = calendar(settings.window)
            words += [f'"{begins}"', str(minutes)]
        commands.append(" ".join(words))
    return commands


def runs(settings: Settings) -> bool:
    """Tell whether updates are installed by themselves."""
    return settings.automatic is Automatic.INSTALL
