"""What SELinux's policy says of the devices that containers are given; deed and proof use it."""

from __future__ import annotations

from collections.abc import Mapping

from nodeproof.facts.node import NodeFacts
from nodeproof.layers.containers.settings import Settings

EVERY = "container_use_devices"
"""Of container-selinux: any device that the engine hands out. Source: its container.te."""
RENDERING = "container_use_dri"
"""Of the reference policy, as Debian has it: /dev/dri, and neither /dev/nvidia*, which are
xserver_misc_device_t, nor /dev/kfd. Source: sesearch on selinux-policy-default 2:2.20250213-13."""
NAMES = (EVERY, RENDERING)


def wanted(settings: Settings) -> bool | None:
    """Return what is asked: on, off, or neither."""
    if settings.selinux_devices is None and settings.toolkit != "none":
        return True
    return settings.selinux_devices


def booleans(settings: Settings, live: Mapping[str, bool]) -> dict[str, bool]:
    """Return the booleans to set: on, the widest that there is; off, all."""
    asked = wanted(settings)
    there = [name for name in NAMES if name in live]
    return {} if asked is None else dict.fromkeys(there[:1] if asked else there, asked)


def why_not(settings: Settings, node: NodeFacts, live: Mapping[str, bool]) -> str:
    """Return why containers would be given devices in vain; empty where they would not."""
    if not node.selinux or not wanted(settings):
        return ""
    if settings.selinux_devices and not booleans(settings, live):
        return f"its policy has neither of {' and '.join(NAMES)}; leave selinux_devices out"
    if node.selinux == "1" and settings.toolkit != "none" and EVERY not in live:
        return (
            f"its policy has no {EVERY}, and denies containers the devices that a toolkit hands "
            "out; load a module that allows them and set selinux_devices to false"
        )
    return ""
