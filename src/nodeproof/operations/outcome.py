"""Whether an operation changes something: as it was run, or else as it is foreseen."""

from __future__ import annotations

from pyinfra.api.operation import OperationMeta


def changes(change: OperationMeta) -> bool:
    """Tell whether an earlier operation changed the node, or would.

    pyinfra evaluates operations once before it runs them; ``did_change()`` alone fails there.
    """
    return change.did_change() if change.is_complete() else bool(change.will_change)
