"""What a result says of reboots, in words."""

from __future__ import annotations

from collections.abc import Iterator

from nodeproof.engine.result import Node, Reboot
from nodeproof.settings.reboot import When


def would_reboot(node: Node) -> bool:
    """Tell whether a planned node is to be rebooted at the end of its apply."""
    reboot = node.reboot
    if reboot is None or reboot.done:
        return False
    return reboot.asked is When.ALWAYS or (reboot.asked is When.IF_NEEDED and bool(reboot.needed))


def left_to_do(node: Node) -> bool:
    """Tell whether a node needs a reboot that nobody has asked for."""
    reboot = node.reboot
    return reboot is not None and not reboot.done and reboot.asked is When.NEVER


def sentences(reboot: Reboot, *, planned: bool) -> Iterator[str]:
    """Yield what is to be said of a reboot, the most important first."""
    why = reboot.needed or ["asked for"]
    if reboot.done:
        yield f"rebooted: {'; '.join(why)}"
        if reboot.kernel_before != reboot.kernel_after:
            yield f"kernel {reboot.kernel_after}, before it {reboot.kernel_before}"
    elif reboot.asked is When.NEVER:
        yield f"reboot needed: {'; '.join(why)}"
    else:
        yield f"{'would be rebooted' if planned else 'not rebooted'}: {'; '.join(why)}"
    yield from reboot.notes
