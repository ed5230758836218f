"""From a result to an exit code."""

from __future__ import annotations

from nodeproof.engine.result import NodeStatus, Result
from nodeproof.errors import Exit

# The first that any node has decides.
_ORDER = (
    (NodeStatus.FAILED, Exit.FAILED),
    (NodeStatus.REFUSED, Exit.REFUSED),
    (NodeStatus.UNREACHABLE, Exit.UNREACHABLE),
)


def exit_code(result: Result, *, detailed: bool = False) -> Exit:
    """Return the exit code; `detailed` tells pending changes apart from none."""
    if result.interrupted:
        return Exit.INTERRUPTED
    statuses = {node.status for node in result.nodes}
    for status, code in _ORDER:
        if status in statuses:
            return code
    if detailed and NodeStatus.PENDING in statuses:
        return Exit.PENDING
    return Exit.DONE
