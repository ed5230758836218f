"""Keep the initramfs of every kernel as the module options are."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import QuoteString, operation
from pyinfra.api.operation import OperationMeta

from nodeproof.catalog.distributions import Initramfs
from nodeproof.facts.boot import Boot, BootData
from nodeproof.facts.files import FileState
from nodeproof.facts.systemd import PENDING
from nodeproof.operations import journal
from nodeproof.operations.journal import Change
from nodeproof.operations.outcome import changes

NOTE = "initramfs"
"""The note that module options changed and the initramfs does not have them yet."""


@operation()
def built(tool: Initramfs, after: OperationMeta) -> Generator[Change]:
    """
    Build the initramfs of every kernel anew, where options of modules changed.

    + tool: what builds it on the distribution, from the catalog
    + after: the operation that writes them, with ``notify=initramfs.NOTE``

    **Example:**

    .. code:: python

        initramfs.built(name="Build the initramfs anew", tool="dracut", after=written)
    """

    note = f"{PENDING}/{NOTE}"
    waiting = host.get_fact(FileState, path=note) is not None
    boot: BootData = host.get_fact(Boot)
    dracut = tool == Initramfs.DRACUT
    # A rescue kernel has an image and no modules to build another from.
    versions = [k.version for k in boot.kernels if k.initrd and (k.modules or not dracut)]
    path = "/boot/initramfs-{}.img" if dracut else "/boot/initrd.img-{}"
    images = [path.format(version) for version in versions]
    if not images or not (waiting or changes(after)):
        host.noop("there is no initramfs here" if not images else "it is as the options are")
        return
    build: list[str | QuoteString] = [] if dracut else ["update-initramfs -u -k all >&2 &&"]
    for version in versions if dracut else ():
        image = QuoteString(path.format(version))
        build += ["dracut -f --", image, QuoteString(version), ">&2 &&"]
    yield Change(
        *build,
        "rm -f --",
        QuoteString(note),
        touches=[journal.file(path) for path in images],
    )
