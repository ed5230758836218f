"""What only the cuda layer does to a node."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import QuoteString, operation

from nodeproof.layers.cuda.facts import Alternative, AlternativeData
from nodeproof.operations import journal
from nodeproof.operations.journal import Change


@operation()
def alternative(group: str, path: str, places: Sequence[str]) -> Generator[Change]:
    """
    Make alternatives point somewhere, and stay so whatever packages are installed later.

    + group: their name
    + path: where their link leads
    + places: the link and what is kept of it

    **Example:**

    .. code:: python

        operations.alternative(name="Choose the default toolkit", group="cuda",
                               path="/usr/local/cuda-13.1", places=["/usr/local/cuda"])
    """

    now: AlternativeData = host.get_fact(Alternative, group=group)
    if (now.value, now.manual) == (path, True):
        host.noop(f"{group} is {path}")
        return
    yield Change(
        "update-alternatives --set",
        QuoteString(group),
        QuoteString(path),
        ">&2",
        touches=[journal.file(place) for place in places],
    )
