"""Kernel modules that run."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import OperationError, QuoteString, operation

from nodeproof.facts.modules import Loaded, LoadedModules
from nodeproof.operations.journal import Change, Item, Kind


@operation()
def unloaded(modules: Sequence[str]) -> Generator[Change]:
    """
    Make modules not be loaded; one that something uses is refused.

    + modules: their names

    **Example:**

    .. code:: python

        modules.unloaded(name="Unload what is denied", modules=["usb-storage"])
    """

    now: dict[str, Loaded] = host.get_fact(LoadedModules, modules=",".join(modules))
    for name, found in now.items():
        if found.users:
            raise OperationError(f"modules.unloaded: {name} is in use ({found.users})")
    if not now:
        host.noop("none of these modules is loaded")
        return
    names = [QuoteString(name) for name in now]
    yield Change("modprobe -r --", *names, touches=[Item(Kind.MODULE, name) for name in now])
