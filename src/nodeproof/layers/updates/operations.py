"""Manage what comes unattended, when, and what follows it."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import FileUploadCommand, QuoteString, operation

from nodeproof.facts.files import FileState
from nodeproof.facts.packages import AptPackages, PackagesData
from nodeproof.layers.updates import policy
from nodeproof.layers.updates.settings import Settings
from nodeproof.operations import files, journal, systemd
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.updates.guard import KERNELS, PROGRAM

CONFIGURATION = "/etc/apt/apt.conf.d/90nodeproof-updates"


@operation()
def unattended(settings: Settings, origins: Sequence[str]) -> Generator[FileUploadCommand | Change]:
    """
    Make security updates alone come unattended, and leave alone what is held by now.

    + settings: of the layer
    + origins: where security updates come from, as unattended-upgrades matches them

    **Example:**

    .. code:: python

        unattended(name="Say what comes unattended", settings=settings,
                   origins=["origin=Debian,codename=${distro_codename}-security"])
    """

    now: PackagesData = host.get_fact(AptPackages)
    values = {
        "settings": settings,
        "origins": origins,
        "left_alone": policy.left_alone(settings, now.held),
    }
    text = files.render("updates/apt.conf.j2", **values)
    kernels = files.render("updates/kernels.apt.conf.j2", patterns=KERNELS)
    yield from files.content._inner(path=CONFIGURATION, text=text)
    yield from files.content._inner(path=policy.KERNELS_APART, text=kernels)


@operation()
def configured(unit: str, path: str, text: str | None) -> Generator[FileUploadCommand | Change]:
    """
    Make a drop-in of a unit say this, or be gone, and systemd know it; a revert tells it, too.

    + unit: whose it is
    + path: of the drop-in
    + text: what it says; none: there is none

    **Example:**

    .. code:: python

        configured(name="Set when updates are installed", unit="apt-daily-upgrade.timer",
                   path="/etc/systemd/system/apt-daily-upgrade.timer.d/nodeproof.conf", text=text)
    """

    changes = (
        files.absent._inner(path=path, notify=unit)
        if text is None
        else files.content._inner(path=path, text=text, notify=unit)
    )
    wanted = list(changes)
    if wanted:
        # Taken back last, when the file is what it was.
        yield Change("true", touches=[_known(unit)], counts=False)
        folder = path.rpartition("/")[0]
        if text is not None and host.get_fact(FileState, path=folder) is None:
            yield from files.directory._inner(path=folder)
    yield from wanted
    yield from systemd.told._inner(unit=unit, after=[], how="read", stale=bool(wanted))


def _known(unit: str) -> Item:
    """Return the item of what systemd knows of a unit's files."""
    probe = f"systemctl show -P NeedDaemonReload -- {shlex.quote(unit)}"
    return Item(Kind.CUSTOM, f"files of {unit}\t{probe}\tsystemctl daemon-reload")


@operation()
def noted() -> Generator[Change]:
    """
    Make a node know since when each security update has been open; timers keep it so.

    **Example:**

    .. code:: python

        noted(name="Note which updates are open")
    """

    if host.get_fact(FileState, path=policy.NOTED) is not None:
        host.noop("open updates are noted")
        return
    yield Change(QuoteString(PROGRAM), "pending", touches=[journal.file(policy.NOTED)])
