"""The packages of a choice."""

from __future__ import annotations

from nodeproof.catalog.resolve.choice import Choice
from nodeproof.repositories.stack import Stack


def stack(choice: Choice) -> Stack:
    """Return the packages of a choice; none where the driver is kept as it is."""
    driver = choice.driver
    if driver is None or driver.origin == "kept":
        return Stack()
    wanted = dict.fromkeys(driver.packages, driver.version)
    for one in choice.companions:
        wanted |= dict.fromkeys(one.packages, one.version)
    other = {
        "open": ("cuda-drivers", "nvidia-kernel-dkms", "kmod-nvidia-latest-dkms"),
        "proprietary": ("nvidia-open", "nvidia-kernel-open-dkms", "kmod-nvidia-open-dkms"),
    }[driver.modules]
    # Metapackages of one branch would keep what they need in that branch.
    without = ("nvidia-driver-pinning-*", "nvidia-open-*", "cuda-drivers-*", *other)
    # A stream, or a pattern of version locks, is no package.
    pin = "" if {*":*"} & {*driver.pin} else driver.pin
    return Stack(wanted, pin, without)
