"""What only the rocm layer does to a node."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping, Sequence

from pyinfra import host
from pyinfra.api import QuoteString, operation
from pyinfra.api.operation import OperationMeta

from nodeproof.catalog.distributions import PackageManager
from nodeproof.facts.systemd import PENDING, Unit, UnitData
from nodeproof.layers.rocm.facts import Alternatives, Group, Live, LiveDriver
from nodeproof.operations import journal, systemd
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.operations.outcome import changes

_CHOOSE = r"""
grep -ls '^/opt/rocm' /var/lib/dpkg/alternatives/* | while read -r file; do
  name=${file##*/}
  update-alternatives --query "$name" | sed -n 's/^Alternative: //p' | while read -r at; do
    case $at in "$1"|"$1"/*) update-alternatives --quiet --set "$name" "$at" >&2 || exit;; esac
  done || exit
done
"""


@operation()
def default_release(
    prefix: str, several: bool, after: Sequence[OperationMeta] = ()
) -> Generator[Change]:
    """
    Make ``/opt/rocm`` lead to a release, by the alternatives that AMD's packages bring.

    + prefix: the folder of the release
    + several: whether others are installed beside it; alone it is the default by itself
    + after: operations that install releases

    **Example:**

    .. code:: python

        operations.default_release(name="Make this release the default", several=True,
                                   prefix="/opt/rocm-6.4.4", after=[installed])
    """

    groups: dict[str, Group] = host.get_fact(Alternatives)
    wrong = [name for name, one in groups.items() if one.of(prefix) not in ("", one.value)]
    if not wrong and not (several and any(changes(one) for one in after)):
        host.noop(f"/opt/rocm leads to {prefix}" if groups else "there are no alternatives")
        return
    known = [_alternative(name, one) for name, one in groups.items()]
    yield Change(
        *("sh", "-ec", QuoteString(_CHOOSE), "sh", QuoteString(prefix)),
        touches=known or [Item(Kind.PACKAGES, PackageManager.APT)],
    )


def _alternative(name: str, now: Group) -> Item:
    """Return the item of a group; what was registered as the best moves with the packages."""
    quoted = shlex.quote(name)
    probe = (
        f"update-alternatives --query {quoted} 2>/dev/null | "
        "sed -n '/^Status: auto/p; /^Status: manual/,/^Value/p'"
    )
    back = f"--set {quoted} {shlex.quote(now.value)}" if now.chosen else f"--auto {quoted}"
    return Item(Kind.CUSTOM, f"alternative {name}\t{probe}\tupdate-alternatives --quiet {back} >&2")


@operation()
def divided(
    unit: str, wanted: Mapping[str, str], options: Sequence[str], start: bool, after: OperationMeta
) -> Generator[Change]:
    """
    Make GPUs be divided as asked, at every boot and now where the driver runs.

    + unit: the unit that divides them
    + wanted: compute and memory to what each GPU must say
    + options: as they are asked about elsewhere, so that one look is enough
    + start: whether the driver runs, so that GPUs can be divided now
    + after: the operation that writes the unit, with ``notify=`` the unit

    **Example:**

    .. code:: python

        operations.divided(name="Divide the GPUs", unit="nodeproof-rocm.service", options=[],
                           wanted={"compute": "CPX"}, start=True, after=written)
    """

    now: UnitData = host.get_fact(Unit, unit=unit)
    live: LiveDriver = host.get_fact(Live, options=",".join(options))
    wrong = any(not as_asked(gpu, wanted) for gpu in live.partitions)
    stale = now.pending or changes(after)
    if now.enabled and not stale and not (start and (wrong or not now.active)):
        host.noop("GPUs are divided as asked" if start else "they are divided at boot")
        return
    now_too = [systemd.asked("restart", unit), "&&"] if start else []
    yield Change(
        "systemctl daemon-reload &&",
        systemd.asked("enable", unit),
        "&&",
        *now_too,
        "rm -f --",
        QuoteString(f"{PENDING}/{unit}"),
        touches=[journal.unit(unit), *([Item(Kind.TOLD, unit)] if start else [])],
    )


@operation()
def undivided(unit: str) -> Generator[Change]:
    """
    Make nothing divide GPUs at boot; how they are divided stays until then.

    + unit: the unit that divided them

    **Example:**

    .. code:: python

        operations.undivided(name="Leave the GPUs whole", unit="nodeproof-rocm.service")
    """

    if not host.get_fact(Unit, unit=unit).known:
        host.noop(f"there is no {unit}")
        return
    yield from systemd.unit._inner(unit=unit, running=False, enabled=False)


def as_asked(gpu: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Tell whether a GPU is divided as asked."""
    return all(gpu.get(name) == value for name, value in wanted.items())
